"""How it is, in the two formats that Prometheus and its like read; what there is to tell is `families`' business."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, generate_latest

from openaq_pipeline.model import Location
from openaq_pipeline.monitoring import families
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.metrics import RunMetrics, Totals
from openaq_pipeline.reports import Health
from openaq_pipeline.settings import AlertSettings

WEIGHT = re.compile(r";\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)
"""How much a type is wanted, from 0 to 1 (RFC 9110, 12.4.2)."""


class Figures(msgspec.Struct, frozen=True):
    """What there is to tell. `runs` are all on file, oldest first; `late_after_seconds`: so old may a good run be.

    None is told for what is None: `totals` where nothing was counted yet, `budget` where it is not known, `book` where
    it can't be read. `locations` say where a station is and who provides its data, as far as that is known.
    """

    health: Health
    runs: Sequence[RunMetrics]
    alerts: AlertSettings
    late_after_seconds: float
    version: str
    totals: Totals | None = None
    budget: families.Use | None = None
    book: Book | None = None
    locations: Mapping[int, Location] = {}


def as_text(figures: Figures) -> bytes:
    """Return Prometheus' own text format, as node_exporter reads it from a file."""
    return generate_latest(_Registry(figures))


def answer(figures: Figures, accept: str) -> tuple[bytes, str]:
    """Return what a scrape gets and its content type, in the format that an `Accept` header asks for.

    OpenMetrics where it is asked for, else Prometheus' own text format.
    """
    try:
        encoder, content_type = choose_encoder(_preferred(accept))
    except (TypeError, ValueError):  # a version in it is no number
        encoder, content_type = choose_encoder("")
    return encoder(_Registry(figures)), content_type


def _preferred(accept: str) -> str:
    """Return an `Accept` header by the weights in it, as far as Prometheus' own text: the library passes them over."""
    asked = sorted(filter(_weight, accept.split(",")), key=_weight, reverse=True)
    own = next((place for place, each in enumerate(asked) if each.split(";")[0].strip() == "text/plain"), len(asked))
    return ",".join(asked[: own + 1])


def _weight(accepted: str) -> float:
    found = WEIGHT.search(accepted)
    return float(found[1]) if found else 1.0


class _Registry(CollectorRegistry):
    """A registry of these families alone: nothing of the process that happens to tell them."""

    def __init__(self, figures: Figures) -> None:
        super().__init__(auto_describe=False)
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from collected(self._figures)


def collected(figures: Figures) -> Iterator[Metric]:
    """Yield every family that there is something to tell of."""
    shown = families.shown(figures.health.locations)
    told = (
        families.whole(figures.health, figures.runs, figures.version),
        families.limits(figures.alerts, figures.late_after_seconds),
        families.last_run(figures.runs),
        families.totals(figures.totals),
        families.budget(figures.budget),
        families.alerts(figures.book),
        families.locations(figures.health.locations, len(shown)),
        families.each(shown, figures.runs, figures.locations),
    )
    for part in told:
        yield from (family for family in part if family.samples)
