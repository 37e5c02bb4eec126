"""The picture of a look back: a row for each location, a column for each day, coloured, with the number in it.

Pillow is loaded when one is drawn. It is drawn twice as large as it is shown, for screens with fine dots.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import combining, normalize

from openaq_pipeline import installed
from openaq_pipeline.reports import Digest, DigestPlace

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH = 640
"""Points, as wide as mail clients show; everything below is in points too."""

SCALE = 2
MARGIN, HEAD, ROW, CELL, GAP = 12, 54, 26, 52, 3
NAMES = WIDTH - 2 * MARGIN - 7 * CELL
PAPER, INK, FAINT = "#ffffff", "#1b1f24", "#57606a"


class Shade(NamedTuple):
    """From so many percent on a cell has this colour, and its letters that one."""

    least: int
    colour: str
    ink: str


SHADES = (
    Shade(99, "#1a7f37", "#ffffff"),
    Shade(90, "#8fd19e", "#1b1f24"),
    Shade(50, "#ffd866", "#1b1f24"),
    Shade(1, "#f08c3a", "#1b1f24"),
    Shade(0, "#b42318", "#ffffff"),
)
NOTHING_DUE = Shade(0, "#e6e8eb", "#57606a")
LEGEND = (("99+", 99), ("90+", 90), ("50+", 50), ("1+", 1), ("0 %", 0), ("nothing due", None))


def drawn(digest: Digest) -> bytes:
    """Return the picture as a PNG; empty: what draws is not installed, and the words have to do."""
    if not installed.has(installed.PICTURE):
        return b""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - only who draws pays for it

    height = HEAD + ROW * max(1, len(digest.places)) + 40
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    pen.head(digest)
    for number, place in enumerate(digest.places):
        pen.row(place, HEAD + ROW * number)
    if not digest.places:
        pen.write("Nothing was due.", (MARGIN, HEAD + ROW / 2), 13, FAINT)
    pen.legend(height - 20)
    body = io.BytesIO()
    # A few colours and their edges: a third of the bytes.
    image.quantize(64).save(body, "PNG", optimize=True)
    return body.getvalue()


class _Pen:
    """Draws in points."""

    def __init__(self, draw: ImageDraw) -> None:
        self._draw = draw

    def write(self, text: str, at: tuple[float, float], size: int, colour: str, *, centred: bool = False) -> None:
        """Write a text that begins at a point, or has it in its middle."""
        from PIL import ImageFont  # noqa: PLC0415

        font = ImageFont.load_default(size * SCALE)
        point = (at[0] * SCALE, at[1] * SCALE)
        self._draw.text(point, text, fill=colour, font=font, anchor="mm" if centred else "lm")

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a box with round corners."""
        corners = (x * SCALE, y * SCALE, (x + width) * SCALE, (y + height) * SCALE)
        self._draw.rounded_rectangle(corners, 3 * SCALE, fill=colour)

    def head(self, digest: Digest) -> None:
        """Write what it shows, and the days."""
        self.write("Percent complete", (MARGIN, 20), 16, INK)
        self.write(f"{digest.days[0]:%d %b} to {digest.days[-1]:%d %b %Y}", (MARGIN, 40), 12, FAINT)
        for number, day in enumerate(digest.days):
            middle = MARGIN + NAMES + CELL * (number + 0.5)
            self.write(f"{day:%a}", (middle, 22), 12, INK, centred=True)
            self.write(f"{day.day}", (middle, 39), 12, FAINT, centred=True)

    def row(self, place: DigestPlace, top: float) -> None:
        """Draw a location's days."""
        self.write(self._fitting(_drawable(place)), (MARGIN, top + ROW / 2), 12, INK)
        for number, day in enumerate(place.days):
            shade, left = shade_of(day), MARGIN + NAMES + CELL * number
            self.box(left + GAP / 2, top + GAP / 2, CELL - GAP, ROW - GAP, shade.colour)
            middle = (left + CELL / 2, top + ROW / 2)
            self.write("-" if day is None else str(day), middle, 12, shade.ink, centred=True)

    def legend(self, y: float) -> None:
        """Say what the colours mean."""
        left: float = MARGIN
        for text, percent in LEGEND:
            self.box(left, y - 7, 14, 14, shade_of(percent).colour)
            self.write(text, (left + 20, y), 12, FAINT)
            left += 80

    def _fitting(self, name: str) -> str:
        """Return as much of a name as there is room for."""
        from PIL import ImageFont  # noqa: PLC0415

        font, room = ImageFont.load_default(12 * SCALE), (NAMES - 10) * SCALE
        if font.getlength(name) <= room:
            return name
        while name and font.getlength(f"{name}…") > room:
            name = name[:-1]
        return f"{name}…"


def shade_of(percent: int | None) -> Shade:
    """Return how a day is shown."""
    return NOTHING_DUE if percent is None else next(shade for shade in SHADES if percent >= shade.least)


def _drawable(place: DigestPlace) -> str:
    """Return a name that Pillow's own font can draw: it has the letters of ASCII and no others."""
    plain = "".join(char for char in normalize("NFKD", place.name) if not combining(char))
    plain = plain.replace("\N{EN DASH}", "-").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return plain if plain.isascii() and plain.isprintable() else f"Location {place.location_id}"
