"""One location whose sensors fail in ways that usually pass."""

from __future__ import annotations

from datetime import datetime, timedelta

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.ingest import STUBBORN_AFTER, ingest
from openaq_pipeline.model import Page, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings, ValidationSettings
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState
from tests.test_ingest_machine import BEGINNING, HERE, SENSORS, Source


class Ailing(Source):
    """OpenAQ with sensors whose answers can't be read; `asked` counts the questions for each."""

    def __init__(self, *ill: int) -> None:
        super().__init__()
        self.ill = ill
        self.asked: list[int] = []

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        self.asked.append(sensors_id)
        if sensors_id in self.ill:
            raise RetriableError("504")
        return super().measurements(location_id, sensors_id, window, attempts=attempts)


def outcomes(source: Ailing, runs: int) -> list[list[str]]:
    validation = ValidationSettings()
    parts = Parts(
        source=source,
        rows=MemoryRows(),
        rejects=MemoryRejects(),
        state=MemoryState(),
        metadata=MemoryMetadata(),
        judge=Judge(validation),
        required=Required(validation.required_fields),
        data=DataSettings(),
        tally=Tally(),
    )
    moments: list[datetime] = [BEGINNING + timedelta(minutes=10 * number) for number in range(runs)]
    reports = [ingest(parts, HERE, Order(now)).report for now in moments]
    return [[sensor.outcome for sensor in report.sensors] for report in reports]


def test_a_sensor_that_fails_again_and_again_while_its_neighbours_answer_is_parked() -> None:
    source = Ailing(SENSORS[0].id)
    found = outcomes(source, STUBBORN_AFTER + 2)
    assert found == [["failed", "ok", "ok"]] * STUBBORN_AFTER + [["parked", "ok", "ok"]] * 2
    assert source.asked.count(SENSORS[0].id) == STUBBORN_AFTER


def test_when_openaq_answers_for_none_nobody_is_parked() -> None:
    source = Ailing(*(sensor.id for sensor in SENSORS))
    assert outcomes(source, STUBBORN_AFTER + 2) == [["failed"] * 3] * (STUBBORN_AFTER + 2)
