"""The settings as types: every key of `config.yaml` with its default, its unit and the values it allows.

How they are found and read (files, environment, precedence, line numbers) is `config`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, Strict, model_validator

from openaq_pipeline import thresholds
from openaq_pipeline.places import Item, Selection, listed
from openaq_pipeline.reports import Severity
from openaq_pipeline.section import Section

ANY_UNIT = "any"
HUNDRED_YEARS_DAYS = 36_525
"""As long as any span may be: dates have a first year, and a window may not begin in front of it."""


PositiveInt = Annotated[int, Strict(), Field(gt=0)]
PositiveNumber = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Days = Annotated[int, Strict(), Field(gt=0, le=HUNDRED_YEARS_DAYS)]
Hours = Annotated[float, Strict(), Field(gt=0, le=HUNDRED_YEARS_DAYS * 24)]
HoursOrZero = Annotated[float, Strict(), Field(ge=0, le=HUNDRED_YEARS_DAYS * 24)]
Text = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


def _by_unit(value: object) -> object:
    """Bring `pm25: X` (any unit) and `o3: {ppm: X}` to one form, a table by unit."""
    return value if isinstance(value, dict) else {ANY_UNIT: value}


def _two(value: object) -> object:
    """Let pass what looks like a range, so that its ends can be looked at."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a list of two numbers, the lowest first, such as [0, 500]")
    return value


def _low_below_high(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first number must be below the second")
    return bounds


def _base_url(url: str) -> str:
    address = url.strip().rstrip("/")
    parts = urlsplit(address)
    plain = parts.path.endswith("/v3") and not (parts.query or parts.fragment or parts.username)
    # `port` raises for one that is none.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or not plain:
        raise ValueError("must be an http or https address that ends in /v3")
    return address


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("must be a time zone such as UTC or Asia/Kathmandu") from None
    return name


def _timezone_or_none(name: str) -> str:
    return _timezone(name) if name else name


def _cron(line: str) -> str:
    if len(line.split()) != 5:
        raise ValueError("must have five fields: minute, hour, day of month, month, day of week")
    return line


def _prom(name: str) -> str:
    if name and (not name.endswith(".prom") or "\0" in name):
        raise ValueError("must end in .prom, because node_exporter reads no other files")
    return name


def _clock_time(value: object) -> object:
    """Return `HH:MM`. YAML reads a bare 22:00 as a number to the base of 60."""
    if value == "":
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        value = f"{value // 60:02}:{value % 60:02}"
    if not isinstance(value, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("must be a time of the day such as 22:00")
    return value


ClockTime = Annotated[str, BeforeValidator(_clock_time)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
Range = Annotated[tuple[Number, Number], BeforeValidator(_two), AfterValidator(_low_below_high)]
RangeByUnit = Annotated[dict[str, Range], BeforeValidator(_by_unit)]
LimitByUnit = Annotated[dict[str, PositiveNumber], BeforeValidator(_by_unit)]


def _by_default() -> Any:
    """Return a section's default: all of its own. It is read as a file is, for which one validator serves them all."""
    return Field(default={}, validate_default=True)


class ScheduleSettings(Section):
    """When the daemon runs; cron times are in `timezone`."""

    mode: Literal["interval", "cron", "once"] = "interval"
    interval_hours: Hours = 2
    cron: Annotated[str, AfterValidator(_cron)] = "0 */2 * * *"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"


class ApiSettings(Section):
    """How OpenAQ is asked. `timeout_seconds` is the longest silence; a whole answer may take twice that."""

    base_url: Annotated[str, AfterValidator(_base_url)] = "https://api.openaq.org/v3"
    api_key: SecretStr | None = None
    timeout_seconds: Annotated[float, Strict(), Field(gt=0, le=3600)] = 30
    requests_per_minute: PositiveInt = 60
    requests_per_hour: PositiveInt = 2000
    max_workers: Annotated[int, Strict(), Field(ge=1, le=32)] = 4


class DataSettings(Section):
    """What is kept, where, and how far back each poll looks."""

    directory: Text = "data"
    initial_days: Days = 30
    lookback_hours: HoursOrZero = 24
    sweep_hours: HoursOrZero = 72
    live_days: Days = 35


class SeriesTests(Section):
    """The tests that compare a value with its neighbours in time; see `thresholds` for the defaults' sources.

    `neighbour_hours`: values further apart than this are not compared. `flat_line_hours`: so long may a value stay
    the same, by parameter. `spike`: the largest distance from the mean of both neighbours. `rate_of_change`: the
    largest change per hour. The last two are in the parameter's unit. A parameter without an entry is not tested.
    """

    neighbour_hours: Hours = thresholds.NEIGHBOUR_HOURS
    flat_line_hours: dict[str, Hours] = Field(default_factory=lambda: dict(thresholds.FLAT_LINE_HOURS))
    spike: dict[str, LimitByUnit] = Field(default_factory=lambda: dict(thresholds.SPIKE), validate_default=True)
    rate_of_change: dict[str, LimitByUnit] = Field(
        default_factory=lambda: dict(thresholds.RATE_OF_CHANGE), validate_default=True
    )


RequiredField = Literal[
    "location_id",
    "sensors_id",
    "parameters_id",
    "parameter",
    "units",
    "value",
    "datetime",
    "datetime_local",
    "interval_seconds",
    "has_flags",
]


class ValidationSettings(Section):
    """When a row is odd. `required_fields` must be there and not null; a row without one goes to `rejects/`."""

    parameter_ranges: dict[str, RangeByUnit] = Field(
        default_factory=lambda: dict(thresholds.PARAMETER_RANGES), validate_default=True
    )
    required_fields: tuple[RequiredField, ...] = (
        "location_id",
        "sensors_id",
        "parameter",
        "units",
        "datetime",
    )
    max_future_minutes: NotNegative = 60
    series_tests: SeriesTests = _by_default()


class AlertSettings(Section):
    """When somebody is told. `cooldown_hours`: so long the same condition is not told again."""

    max_consecutive_failures: PositiveInt = 3
    min_quality_score: Annotated[float, Strict(), Field(ge=0, le=100)] = 90
    max_api_response_seconds: PositiveNumber = 60
    stale_after_hours: Hours = 6
    cooldown_hours: Hours = 24


class MonitoringSettings(Section):
    """What is written down about the runs. `textfile` is for node_exporter, which reads `*.prom`; empty: none."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_file: Text = "pipeline.log"
    textfile: Annotated[str, AfterValidator(_prom)] = ""
    heartbeat_url: SecretStr | None = None
    alerts: AlertSettings = _by_default()


class SlackSettings(Section):
    """Alerts to a Slack channel. `min_severity` here and below: what is less severe is not told on this channel."""

    enabled: bool = False
    min_severity: Severity = "info"
    webhook_url: SecretStr | None = None


class EmailSettings(Section):
    """Alerts by mail."""

    enabled: bool = False
    min_severity: Severity = "info"
    host: str = ""
    port: Annotated[int, Strict(), Field(ge=1, le=65535)] | None = None
    username: str = ""
    password: SecretStr | None = None
    sender: str = Field(default="", alias="from")
    to: list[str] = Field(default=[])
    security: Literal["starttls", "ssl", "none"] = "starttls"


class WebhookSettings(Section):
    """Alerts as JSON to an address of yours."""

    enabled: bool = False
    min_severity: Severity = "info"
    url: SecretStr | None = None
    secret: SecretStr | None = None
    allow_private: bool = False


class AppriseSettings(Section):
    """Alerts to any service that Apprise knows; `urls` are its addresses, separated by blanks."""

    enabled: bool = False
    min_severity: Severity = "info"
    urls: SecretStr | None = None

    @property
    def addresses(self) -> list[str]:
        """Return each address."""
        return self.urls.get_secret_value().split() if self.urls else []


class QuietHoursSettings(Section):
    """When only what is critical is told: from one time of the day to another; empty: never."""

    start: ClockTime = Field(default="", alias="from")
    to: ClockTime = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.start) != bool(self.to):
            raise ValueError("must have both from and to, or neither")
        if self.start and self.start == self.to:
            raise ValueError("from and to must differ")
        return self


class DigestSettings(Section):
    """A look back at the week, once a week."""

    enabled: bool = True
    weekday: Weekday = "monday"
    hour: Annotated[int, Strict(), Field(ge=0, le=23)] = 8


class NotificationSettings(Section):
    """Who is told; each channel has its own switch.

    `group_hours`: a group (of one kind, level and provider) that was told waits so long before more of it is told.
    `escalate_after_hours`: what lasts so long is raised a level and told again; 0: never. `timezone` is that of quiet
    hours and digest; empty: that of the schedule.
    """

    enabled: bool = False
    timezone: Annotated[str, AfterValidator(_timezone_or_none)] = ""
    group_hours: HoursOrZero = 4
    escalate_after_hours: HoursOrZero = 0
    quiet_hours: QuietHoursSettings = _by_default()
    digest: DigestSettings = _by_default()
    slack: SlackSettings = _by_default()
    email: EmailSettings = _by_default()
    webhook: WebhookSettings = _by_default()
    apprise: AppriseSettings = _by_default()


class WebSettings(Section):
    """The status page; port 0 takes a free one."""

    enabled: bool = True
    host: Text = "127.0.0.1"
    port: Annotated[int, Strict(), Field(ge=0, le=65535)] = 8765


class ArchiveSettings(Section):
    """OpenAQ's public archive on S3. `location` is `s3://bucket`, or a folder that holds a copy of the bucket.

    `endpoint` is another S3 server that has the bucket; empty: AWS.
    """

    location: Text = "s3://openaq-data-archive"
    region: Text = "us-east-1"
    endpoint: str = ""


class PostgresSettings(Section):
    """A copy in PostgreSQL or TimescaleDB; `dsn` is its address, which belongs in DATABASE_URL."""

    enabled: bool = False
    dsn: SecretStr | None = None


class StorageSettings(Section):
    """Further stores beside the files."""

    postgres: PostgresSettings = _by_default()


class Sections(Section):
    """The sections of `config.yaml`."""

    schedule: ScheduleSettings = _by_default()
    api: ApiSettings = _by_default()
    data: DataSettings = _by_default()
    validation: ValidationSettings = _by_default()
    monitoring: MonitoringSettings = _by_default()
    notifications: NotificationSettings = _by_default()
    web: WebSettings = _by_default()
    archive: ArchiveSettings = _by_default()
    storage: StorageSettings = _by_default()


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """Yield every secret value that is set, in whatever section; a new setting is found by its type."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secret = value.get_secret_value().strip()
            yield from {secret, *(part for part in secret.split() if "://" in part)}  # several addresses in one
        elif isinstance(value, BaseModel):
            yield from secrets_of(value)


class FileSettings(Sections):
    """The whole of `config.yaml`."""

    locations: Annotated[list[Item], BeforeValidator(listed)] = Field(default=[])


class Settings(Sections):
    """What a run works with: the file, with environment and flags on top, and where things are.

    `locations` are ids: those that the file lists, and once `selections` are resolved those of them as well (see
    `selection`). `parameters` names by location the ids of the parameters to read; a location that is not in it is
    read whole. `config_path` is None when no file was found and the defaults hold. `warnings` are sentences for the
    user.
    """

    locations: list[int] = Field(default=[])
    selections: tuple[Selection, ...] = ()
    parameters: Mapping[int, frozenset[int]] = Field(default={})
    data_dir: Path
    config_path: Path | None = None
    environment: str = ""
    warnings: tuple[str, ...] = ()

    def model_post_init(self, _context: Any, /) -> None:
        """Keep each location once, in the order given."""
        object.__setattr__(self, "locations", list(dict.fromkeys(self.locations)))
