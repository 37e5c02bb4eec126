"""The running server against its own document: schemathesis asks what the document allows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.web.served import Served, served

load_all_checks()

EXAMPLES = 12
"""For each operation in each mode; so that all take some ten seconds of a processor."""

KNOWN = {
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/runs",
    "/api/v1/alerts",
    "/api/v1/map",
    "/api/v1/locations",
    "/api/v1/locations/{locations_id}",
    "/api/v1/locations/{locations_id}/latest",
    "/api/v1/locations/{locations_id}/measurements",
    "/api/v1/sensors/{sensors_id}/measurements",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture(scope="module")
def document(page: Served) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{page.address}/openapi.json")


def test_the_document_has_all_there_is_to_ask(document: schemathesis.BaseSchema) -> None:
    assert set(document) == KNOWN


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", sorted(KNOWN))
def test_every_answer_is_as_the_document_says(
    document: schemathesis.BaseSchema, path: str, mode: GenerationMode
) -> None:
    operation = document[path]["GET"]
    if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()):
        return  # there is nothing to ask it wrongly

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        answer = case.call(timeout=20)
        if answer.status_code != 414:  # it is in the document, and schemathesis does not know it as a refusal
            case.validate_response(answer, checks=CHECKS.get_all())

    ask()
