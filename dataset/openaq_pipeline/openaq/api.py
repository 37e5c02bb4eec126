"""The endpoints this program asks (OPENAQ section 1), as methods that return the types of `model`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from openaq_pipeline.errors import ItemMissing, RetriableError
from openaq_pipeline.model import Entry, LatestPage, LicenseTerms, Location, LocationPage, Page, Window
from openaq_pipeline.openaq import parse
from openaq_pipeline.openaq.session import Client

PAGE_LIMIT = 1000
"""The largest page OpenAQ gives; 1001 is a 422."""

MOST_PAGES = 500
"""Of any list: OpenAQ's longest, that of its locations, has 30. A server that never ends must not be asked for ever."""


class Api:
    """OpenAQ as this program sees it; thread-safe. `clock` gives the time at which rows are first seen."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    def location(self, location_id: int) -> Location:
        """Return a location with its sensors; raises `ItemMissing` if OpenAQ does not know it.

        Raises `RetriableError` for an answer about another one: its sensors would be stored under a wrong name.
        """
        found = parse.location(self._client.get(f"/locations/{location_id}"), self._clock())
        if found is None:
            raise ItemMissing(f"OpenAQ does not know location {location_id}")
        if found.id != location_id:
            raise RetriableError(f"Asked for location {location_id}, OpenAQ answered with location {found.id}")
        return found

    def locations(self, filters: Mapping[str, str | int]) -> Iterator[LocationPage]:
        """Yield the pages of the locations that OpenAQ's filters select, by id; none: all of OpenAQ.

        Up to the first page that is not full: nothing else tells the end, `found` is no total (OPENAQ section 2.1).
        """
        for page in range(1, MOST_PAGES + 1):
            params = {**filters, "order_by": "id", "limit": PAGE_LIMIT, "page": page}
            found = parse.locations(self._client.get("/locations", params), self._clock())
            yield found
            if found.count < PAGE_LIMIT:
                return
        raise _endless("/locations")

    def parameters(self) -> list[Entry]:
        """Return every parameter OpenAQ knows: its own filters of this list fail (OPENAQ section 1.3)."""
        return self._entries("/parameters")

    def providers(self) -> list[Entry]:
        """Return every provider OpenAQ knows: its own filters of this list fail (OPENAQ section 1.3)."""
        return self._entries("/providers")

    def _entries(self, path: str) -> list[Entry]:
        entries: list[Entry] = []
        for page in range(1, MOST_PAGES + 1):
            found = parse.entries(self._client.get(path, {"limit": PAGE_LIMIT, "page": page}))
            entries += found
            if len(found) < PAGE_LIMIT:
                return entries
        raise _endless(path)

    def licenses(self) -> list[LicenseTerms]:
        """Return the terms of every licence OpenAQ knows; one request that is not repeated: the next run asks again."""
        return parse.licenses(self._client.get("/licenses", {"limit": PAGE_LIMIT}, most=1), self._clock())

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        """Return the oldest `PAGE_LIMIT` measurements of a sensor in a window.

        `attempts` is how often a 500 is asked again, see `Client.get`; None: the usual number.

        Always page 1: a late row would shift the pages behind it (OPENAQ section 3.2).
        """
        params: dict[str, str | int] = {
            "datetime_from": utc_text(window.start),
            "datetime_to": utc_text(window.end),
            "limit": PAGE_LIMIT,
            "page": 1,
        }
        tries = {} if attempts is None else {"attempts": attempts}
        body = self._client.get(f"/sensors/{sensors_id}/measurements", params, **tries)
        return parse.page(body, location_id=location_id, sensors_id=sensors_id, now=self._clock())

    def location_latest(self, location_id: int) -> LatestPage:
        """Return the last row of each sensor of a location; raises `ItemMissing` if OpenAQ does not know it.

        In one page: no location has more than `PAGE_LIMIT` sensors, and of one that had the others would be read as if
        nothing had been asked.
        """
        return parse.latest(self._client.get(f"/locations/{location_id}/latest", {"limit": PAGE_LIMIT}))

    def parameter_latest(self, parameters_id: int, since: datetime, page: int) -> LatestPage:
        """Return a page of the last rows of all sensors of a parameter, of those that have one later than `since`.

        Pages are in no order and may overlap. A page past the end is empty: OpenAQ answers 404 there, also where
        `since` leaves nothing (OPENAQ section 9).
        """
        params: dict[str, str | int] = {"datetime_min": utc_text(since), "limit": PAGE_LIMIT, "page": page}
        try:
            return parse.latest(self._client.get(f"/parameters/{parameters_id}/latest", params))
        except ItemMissing:
            return LatestPage([], 0)


def _endless(path: str) -> RetriableError:
    return RetriableError(f"OpenAQ's list {path} has no end: {MOST_PAGES} full pages came")


def utc_text(moment: datetime) -> str:
    """Return a time bound as OpenAQ takes it safely: with `Z`, because a bound without zone means the station's."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
