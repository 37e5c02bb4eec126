"""A world reconstructed from what the official server was recorded to answer, and those recordings."""

from __future__ import annotations

import gzip
from collections import defaultdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec

from openaq_pipeline.simulator.clock import to_us
from openaq_pipeline.simulator.worlds.additions import Addition
from openaq_pipeline.simulator.worlds.mercator import degrees
from openaq_pipeline.simulator.worlds.model import (
    HOUR_US,
    Flag,
    Latest,
    License,
    Parameter,
    Profile,
    Provider,
    Sensor,
    Station,
)
from openaq_pipeline.simulator.worlds.replay import interval_us, moment_us, station
from openaq_pipeline.simulator.worlds.stored import StoredRow, StoredWorld

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "official_server_replies"
FAR_LATITUDE = 90

STAND_INS = {
    3919: [("2025-11-02T08:00Z", "2026-11-22T22:00Z")],
    402: [("2025-10-26T00:00Z", "2026-03-29T00:00Z"), ("2026-10-08T21:00Z", "2026-11-22T21:00Z")],
}
"""Hours (first, last) that recorded counts imply: rows of value 1 stand in for those no recording shows."""


class Recording(msgspec.Struct):
    """One recorded exchange."""

    name: str
    path: str
    key: str | None
    status: int
    headers: dict[str, str]
    body: Any
    at: datetime

    @property
    def results(self) -> list[dict[str, Any]]:
        return self.body["results"] if isinstance(self.body, dict) and "results" in self.body else []

    @property
    def order(self) -> tuple[datetime, int]:
        return self.at, int(self.headers.get("x-ratelimit-used", 0))


def read_recordings() -> list[Recording]:
    """Return all recordings in the order in which they were made; none where the data folder is absent."""
    found = [_read(path) for path in sorted(RECORDINGS.glob("*.json*"))]
    return sorted(found, key=lambda recording: recording.order)


def _read(path: Path) -> Recording:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    told = msgspec.json.decode(raw)
    headers = {name.lower(): value for name, value in told["headers"]}
    return Recording(
        name=path.name.split(".")[0],
        path=told["request"]["path"],
        key=told["request"]["headers"].get("X-API-Key"),
        status=told["status"],
        headers=headers,
        body=told["body"],
        at=parsedate_to_datetime(headers["date"]).astimezone(UTC),
    )


class RecordedWorld(StoredWorld):
    """What the recordings show; spans, profiles and latest rows that rest on unrecorded rows stay as told."""

    def __init__(self, recordings: list[Recording]) -> None:
        self._by_name = {recording.name: recording for recording in recordings}
        self.spans: dict[int, tuple[int, int] | None] = {}
        self.profiles: dict[int, Profile] = {}
        self.latests: dict[int, Latest] = {}
        rows, intervals = _rows(recordings)
        stations = self._stations(intervals)
        super().__init__(stations, rows, parameters=self._parameters(), licenses=tuple(self._licenses()))
        self._learn_latests()
        self._learn_profiles()
        self._add_row_with_coordinates()

    def station_span_us(self, station: Station, now_us: int) -> tuple[int, int] | None:
        del now_us
        return self.spans.get(station.id)

    def profile(self, sensor: Sensor, now_us: int) -> Profile | None:
        del now_us
        return self.profiles.get(sensor.id)

    def latest(self, sensor: Sensor, now_us: int) -> Latest | None:
        recorded, shown = self.latests.get(sensor.id), super().latest(sensor, now_us)
        found = [latest for latest in (recorded, shown) if latest]
        return max(found) if found else None

    def _results(self, name: str) -> list[dict[str, Any]]:
        return self._by_name[name].results

    def _stations(self, intervals: dict[int, int]) -> tuple[Station, ...]:
        order = [row["locationsId"] for row in self._results("parameter_latest")]
        flags = self._results("location_flags")
        detailed = {row["id"]: index for index, row in enumerate(self._results("location_sensors"))}
        made = []
        for found in self._results("locations"):
            made_station = station(found, intervals)
            first, last = found["datetimeFirst"], found["datetimeLast"]
            self.spans[found["id"]] = (moment_us(first), moment_us(last)) if first and last else None
            sensors = sorted(made_station.sensors, key=lambda sensor: detailed.get(sensor.id, sensor.id))
            own = tuple(_flag(flag) for flag in flags if flag["locationId"] == found["id"])
            provider = self._provider(made_station.provider)
            made.append(msgspec.structs.replace(made_station, flags=own, provider=provider, sensors=tuple(sensors)))
        made.append(self._private_station(made, intervals))
        return tuple(sorted(made, key=lambda one: order.index(one.id) if one.id in order else len(order)))

    def _private_station(self, made: list[Station], intervals: dict[int, int]) -> Station:
        rows = self._results("location_latest_private")
        like = next(one for one in made if one.country.code == "IN")
        # Sensor 9700001 is in parameter 2's list, its neighbour is not; no recording says what it measures.
        kinds = {2: like_parameter(made, 2), 1: like_parameter(made, 1)}
        return msgspec.structs.replace(
            like,
            id=rows[0]["locationsId"],
            latitude=rows[0]["coordinates"]["latitude"],
            longitude=rows[0]["coordinates"]["longitude"],
            is_private=True,
            sensors=tuple(
                Sensor(row["sensorsId"], kind, intervals.get(row["sensorsId"], HOUR_US))
                for row, kind in zip(rows, kinds.values(), strict=True)
            ),
        )

    def _provider(self, thing: Provider) -> Provider:
        for found in self._results("providers"):
            if found["id"] == thing.id:
                added = to_us(datetime.fromisoformat(found["datetimeAdded"]))
                return Provider(thing.id, found["name"], found["sourceName"], found["exportPrefix"], added)
        return thing

    def _parameters(self) -> tuple[Parameter, ...]:
        return tuple(
            Parameter(found["id"], found["name"], found["units"], found["displayName"], found["description"])
            for found in self._results("parameters")
        )

    def _licenses(self) -> list[License]:
        fields = dict(zip(_camel(License), License.__struct_fields__, strict=True))
        return [
            License(**{fields[name]: value for name, value in found.items()}) for found in self._results("licenses")
        ]

    def _learn_latests(self) -> None:
        for recording in self._by_name.values():
            if "/latest" in recording.path:
                for row in recording.results:
                    place = row["coordinates"]
                    if abs(place["latitude"]) <= FAR_LATITUDE:
                        known = Latest(moment_us(row["datetime"]), row["value"], place["latitude"], place["longitude"])
                        self.latests[row["sensorsId"]] = known

    def _learn_profiles(self) -> None:
        for found in [*self._results("location_sensors"), *self._results("sensor")]:
            coverage, summary = found["coverage"], found["summary"]
            self.profiles[found["id"]] = Profile(
                first_us=moment_us(found["datetimeFirst"]),
                last_us=moment_us(found["datetimeLast"]),
                rows=coverage["observedCount"],
                minimum=summary["min"],
                maximum=summary["max"],
                average=summary["avg"],
                deviation=summary["sd"],
            )

    def _add_row_with_coordinates(self) -> None:
        recording = self._by_name["location_latest_mobile_3857"]
        row = next(one for one in recording.results if one["coordinates"]["latitude"] > FAR_LATITUDE)
        place = degrees(row["coordinates"]["latitude"], row["coordinates"]["longitude"])
        addition = Addition(moment_us(row["datetime"]), row["value"], to_us(recording.at), place)
        self.additions.add(row["sensorsId"], addition)


def like_parameter(stations: list[Station], parameters_id: int) -> Parameter:
    """Return a parameter as some station has it."""
    return next(
        sensor.parameter for found in stations for sensor in found.sensors if sensor.parameter.id == parameters_id
    )


def _rows(recordings: list[Recording]) -> tuple[dict[int, list[StoredRow]], dict[int, int]]:
    """Return all hourly and raw rows shown, each visible from the first recording that shows it on."""
    rows: dict[int, list[StoredRow]] = defaultdict(list)
    intervals: dict[int, int] = {}
    for recording in recordings:
        parts = recording.path.split("?")[0].split("/")
        if parts[2:3] != ["sensors"] or parts[-1] not in {"measurements", "hourly", "hours"}:
            continue
        for row in recording.results:
            sensors_id = int(parts[3])
            stored = StoredRow(moment_us(row["period"]["datetimeTo"]), row["value"], to_us(recording.at))
            rows[sensors_id].append(stored)
            if parts[-1] == "measurements":
                intervals[sensors_id] = interval_us(row)
    _add_unseen_null(rows, recordings)
    _add_stand_ins(rows)
    return rows, intervals


def _add_unseen_null(rows: dict[int, list[StoredRow]], recordings: list[Recording]) -> None:
    """Add the row that made a page a 500: after the 50 rows that could be read, it has no value."""
    crashed = next(one for one in recordings if one.name == "measurements_500_null_value")
    sensors_id = int(crashed.path.split("/")[3])
    last = max(row.stamp_us for row in rows[sensors_id])
    rows[sensors_id].append(StoredRow(last + HOUR_US, None, to_us(crashed.at)))


def _add_stand_ins(rows: dict[int, list[StoredRow]]) -> None:
    for sensors_id, spans in STAND_INS.items():
        known = {row.stamp_us for row in rows[sensors_id]}
        for first, last in spans:
            start, end = (to_us(datetime.fromisoformat(bound)) for bound in (first, last))
            rows[sensors_id] += [
                StoredRow(stamp, 1.0, 0) for stamp in range(start, end + 1, HOUR_US) if stamp not in known
            ]


def _flag(found: dict[str, Any]) -> Flag:
    kind = found["flagType"]
    # `sensorIds` is empty by a defect upstream; the sensor's own list shows the flag, so it names it.
    return Flag(
        kind["id"],
        kind["label"],
        kind["level"],
        moment_us(found["datetimeFrom"]),
        moment_us(found["datetimeTo"]),
        found["note"],
        (9500001,),
    )


def _camel(kind: type[License]) -> list[str]:
    words = [name.split("_") for name in kind.__struct_fields__]
    return [first + "".join(word.capitalize() for word in rest) for first, *rest in words]
