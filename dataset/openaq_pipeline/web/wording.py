"""How things are said on the pages: times, spans, numbers, and names that may be anything. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from math import isfinite
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from openaq_pipeline.monitoring.health import in_words
from openaq_pipeline.redact import one_line

NAME_CHARACTERS, REMARK_CHARACTERS = 120, 400
"""A name or a remark that is longer is cut: nobody reads ten thousand characters, and every page would carry them."""

STACKED = re.compile(
    "([\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3})[\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
"""More marks over one letter than any language has; they would grow over the lines around."""

INVISIBLE = re.compile(
    "[\u00ad\u061c\u115f\u1160\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)

PARAMETERS = {
    "pm1": "PM1",
    "pm25": "PM2.5",
    "pm4": "PM4",
    "pm10": "PM10",
    "o3": "O₃",
    "no2": "NO₂",
    "nox": "NOₓ",
    "no": "NO",
    "so2": "SO₂",
    "co2": "CO₂",
    "co": "CO",
    "ch4": "CH₄",
    "bc": "Black carbon",
    "temperature": "Temperature",
    "relativehumidity": "Humidity",
    "um003": "Particles > 0.3 µm",
}
"""How parameters are written in print; others stand as OpenAQ names them."""


def plain(text: str | None, characters: int = NAME_CHARACTERS) -> str:
    """Return a text as one harmless line of bounded length; nothing is said of None."""
    line = INVISIBLE.sub("", one_line((text or "")[: characters * 4]))
    line = " ".join(STACKED.sub(r"\1", line).encode(errors="replace").decode().split())
    return line if len(line) <= characters else f"{line[: characters - 1].rstrip()}…"


def remark(text: str | None) -> str:
    """Return a longer text, such as an error, as one harmless line."""
    return plain(text, REMARK_CHARACTERS)


UNITS = {"c": "°C", "f": "°F"}
"""Of those that OpenAQ writes otherwise than print does."""


def unit(name: str | None) -> str:
    """Return a unit as it is printed."""
    return UNITS.get(name or "", plain(name, 20))


def parameter(name: str | None) -> str:
    """Return a parameter as it is printed."""
    return PARAMETERS.get(name or "", plain(name, 40)) or "unknown parameter"


THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_UP)
LEAST_POWER, MOST_POWER = -6, 7
"""A value beyond these powers of ten is written as one."""


def number(value: float | None) -> str:
    """Return a measured value with three digits that count, or all in front of the point; `–` for none.

    Powers of ten stand for what is tiny or huge: `1.70e308`. `figure` of the script writes just the same.
    """
    if value is None:
        return "–"
    amount = float(value) + 0.0  # there is no zero below zero
    return (_figures(amount) if isfinite(amount) else str(amount)).replace("-", "−")


def _figures(value: float) -> str:
    rounded = THREE_DIGITS.create_decimal_from_float(value)
    power = rounded.adjusted()
    if not LEAST_POWER <= power < MOST_POWER:
        return f"{rounded:.2e}".replace("e+", "e")
    digits = 0 if value.is_integer() else max(0, 2 - power)
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,f}"


def count(value: int) -> str:
    """Return a whole number, thousands apart."""
    return f"{value:,}"


def several(value: int, what: str) -> str:
    """Return a number of things: `1 location`, `1,204 locations`."""
    return f"{value:,} {what}" if value == 1 else f"{value:,} {what}s"


def span(seconds: float | None) -> str:
    """Return a span for people: `41 min`, `3 h 5 min`, `2 days`; `–` for None."""
    return "–" if seconds is None else in_words(timedelta(seconds=seconds))


def took(seconds: float | None) -> str:
    """Return how long something took: `0.31 s`, `48 s`, `3 min 5 s`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        in_words(timedelta(seconds=seconds)) if minutes >= 60 else f"{minutes} min {rest} s" if minutes else f"{rest} s"
    )


def minute(moment: datetime | None) -> str:
    """Return a moment to the minute in UTC; `–` for None."""
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def day(moment: datetime) -> str:
    """Return a moment's day: `28 Nov 2026`."""
    return f"{moment.astimezone(UTC):%d %b %Y}".lstrip("0")


def clock(moment: datetime) -> str:
    """Return a moment's time of the day in UTC."""
    return f"{moment.astimezone(UTC):%H:%M}"


def stamp(moment: datetime) -> str:
    """Return a moment for machines, as HTML's `datetime` wants it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def when(moment: datetime, now: datetime) -> str:
    """Return a moment as seen from now: `in 41 min`, `3 h 5 min ago`."""
    return f"in {in_words(moment - now)}" if moment > now else f"{in_words(now - moment)} ago"


def percent(value: float | None) -> str:
    """Return a share; 100 % only where nothing is missing; `–` for None."""
    if value is None:
        return "–"
    return "100 %" if value == 100 else f"{min(value, 99.9):.1f} %"


def coordinates(latitude: float, longitude: float) -> str:
    """Return a place as an atlas has it: `27.7382° N, 85.3361° E`."""
    return (
        f"{abs(latitude):.4f}° {'N' if latitude >= 0 else 'S'}, {abs(longitude):.4f}° {'E' if longitude >= 0 else 'W'}"
    )


def clock_local(moment: datetime) -> str:
    """Return the time of the day that a moment has where it is."""
    return f"{moment:%H:%M}"


def minute_local(moment: datetime) -> str:
    """Return a moment to the minute, as it is where it is."""
    return f"{moment:%Y-%m-%d %H:%M}"


LONGEST_NUMBER = 18
"""Digits of an id or a count; nothing here has more."""


def number_in(text: str) -> int | None:
    """Return the number that a text is; None: it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def marked(text: str) -> Markup:
    """Return a text of our own with `code` and **emphasis** as HTML, a paragraph for each of its own."""
    found = str(escape(text))
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", found)
    found = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", found)
    return Markup("</p><p>").join(Markup(each) for each in found.split("\n\n"))  # noqa: S704 - escaped above


def web_address(text: str | None) -> str | None:
    """Return an address that may be linked to, http or https alone; None for everything else."""
    if not text or len(text) > 2000 or plain(text, 2000) != text:
        return None
    try:
        parts = urlsplit(text)
        host, user = parts.hostname, parts.username
    except ValueError:
        return None
    return text if parts.scheme in {"http", "https"} and host and not user else None


FILTERS = {
    each.__name__: each
    for each in (
        plain, remark, parameter, number, count, several, span, took, minute, day, clock, stamp, when, percent,
        web_address, unit, clock_local, marked, minute_local,
    )
}  # fmt: skip
