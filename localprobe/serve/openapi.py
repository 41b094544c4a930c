"""`/openapi.json`: the API as an OpenAPI 3.1 document, made from the declared endpoints and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import JSONResponse

from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.types import ErrorAnswer
from localprobe.version import __version__

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_MEANS = {
    400: "The request cannot be read, or asks for what is not supported",
    401: "The key is missing or wrong",
    403: "Not allowed here",
    404: "There is nothing of this name",
    408: "The request did not arrive in time",
    409: "It is in use",
    413: "The body is too large",
    415: "The body is of another type",
    429: "Too many requests wait; Retry-After says when to send it again",
    500: "The server failed",
    503: "The model is being loaded, or failed",
    504: "The deadline passed before the first token",
}
_ALWAYS = (401, 403, 500)  # what any request may get: from the guards in front, or of a bug
_WITH_BODY = (400, 408, 413, 415)


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document of endpoints."""
    types = {id(kind): kind for each in endpoints for kind in (each.body, each.answer) if kind is not None}
    kinds = [*types.values(), ErrorAnswer]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "localprobe",
            "version": __version__,
            "description": "OpenAI's API for a local model, with steering, probes, vectors and residuals.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, schema_of: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', endpoint.path).rstrip('_')}",
        "security": [{}] if endpoint.open else [{}, {"key": []}],
        "responses": _responses(endpoint, schema_of),
    }
    in_path = [_parameter(name, "path") for name in _PARAMETER.findall(endpoint.path)]
    if parameters := in_path + [_parameter(name, "query") for name in endpoint.query]:
        operation["parameters"] = parameters
    content = {} if endpoint.body is None else {"application/json": {"schema": schema_of[id(endpoint.body)]}}
    content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in endpoint.takes}
    if content:
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(endpoint: Endpoint, schema_of: dict[int, Any]) -> dict[str, Any]:
    content = {} if endpoint.answer is None else {"application/json": {"schema": schema_of[id(endpoint.answer)]}}
    content |= {kind: {"schema": {} if "json" in kind else {"type": "string"}} for kind in endpoint.gives}
    refused = {"application/json": {"schema": schema_of[id(ErrorAnswer)]}}
    statuses = {*endpoint.errors, *_ALWAYS, *(_WITH_BODY if endpoint.body is not None or endpoint.takes else ())}
    own = {503: content} if endpoint.path == "/health" else {}
    return {
        str(endpoint.status): {"description": "The answer", **({"content": content} if content else {})},
        **{str(s): {"description": _MEANS[s], "content": own.get(s, refused)} for s in sorted(statuses)},
    }


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


async def show_document(call: Call[None]) -> JSONResponse:
    return JSONResponse(document(call.request.app.state.endpoints))


ENDPOINTS = [
    Endpoint("GET", "/openapi.json", show_document, "This document", gives=("application/json",)),
]
