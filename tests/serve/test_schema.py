"""schemathesis: requests made of the OpenAPI document, valid ones and broken ones, against a real server process."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from localprobe.serve.app import ENDPOINTS
from localprobe.serve.openapi import document
from tests.serve.process import Started, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
EXAMPLES = 40
BEYOND = [
    positive_data_acceptance,  # a schema cannot say that a vector must exist, or that a prompt must hold a word
    allow_header_conformance,  # GET /v1/models/load asks for a model of that name
]


@pytest.fixture(scope="module")
def running(own_folders: object) -> Iterator[Started]:
    with started(delay=0.0, max_tokens=8, default_tokens=4, allow_upload=True) as server:
        yield server
        assert server.chat().status_code == 200, "it still answers"
        assert "Traceback" not in server.said()


API = schemathesis.openapi.from_dict(document(ENDPOINTS))


@API.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_answers_are_what_the_document_says(case: Case, running: Started) -> None:
    case.call_and_validate(base_url=running.url, excluded_checks=BEYOND)
