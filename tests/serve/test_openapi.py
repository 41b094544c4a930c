"""The OpenAPI document is made from what the endpoints declare."""

from __future__ import annotations

from typing import Any

from localprobe.serve.app import ENDPOINTS
from localprobe.serve.openapi import document
from tests.serve.server import Server


def references(value: Any) -> set[str]:
    """Every `$ref` in a JSON value."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_endpoint_is_in_the_document_that_is_served(server: Server) -> None:
    told = server.http.get("/openapi.json").json()
    assert told == document(ENDPOINTS)
    assert told["openapi"] == "3.1.0"
    assert {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods} == {
        f"{each.method} {each.path.replace(':path', '')}" for each in ENDPOINTS
    }


def test_every_reference_leads_somewhere() -> None:
    told = document(ENDPOINTS)
    known = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    assert references(told) <= known


def test_a_body_is_described_with_its_limits_and_refuses_other_fields() -> None:
    schema = document(ENDPOINTS)["components"]["schemas"]["ChatRequest"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["messages"]
    assert schema["properties"]["n"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 8}


def test_operations_have_names_of_their_own() -> None:
    told = document(ENDPOINTS)
    names = [operation["operationId"] for methods in told["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_errors_are_described_by_the_envelope() -> None:
    responses = document(ENDPOINTS)["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"200", "400", "401", "404", "413", "429", "503", "504"} <= set(responses)
    schema = responses["429"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}
