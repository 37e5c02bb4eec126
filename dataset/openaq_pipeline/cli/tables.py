"""Tables without lines that keep to a width: one column may be cut, all others stay whole."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LEAST = 12
"""The column that may be cut keeps so many characters, and the table is wider than it should be."""


class Grid:
    """A table for rich to draw. A name that ends in `>` is of a column of numbers; `grows` is the one that may be cut.

    Cells are text as it is: nothing in them is taken for rich's markup.
    """

    def __init__(self, *names: str, grows: str = "", gap: int = 2) -> None:
        self._names = [name.removesuffix(">") for name in names]
        self._right = [name.endswith(">") for name in names]
        self._grows, self._gap = grows, gap
        self._rows: list[list[Text]] = []

    def add(self, *cells: str | Text) -> None:
        """Add a line."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table as rich's own, each column as wide as its longest cell."""
        table = Table(box=None, pad_edge=False, padding=(0, self._gap, 0, 0), header_style="bold")
        for name, right, width in zip(self._names, self._right, self._widths(options.max_width), strict=True):
            table.add_column(
                Text(name), justify="right" if right else "left", width=width, no_wrap=True, overflow="ellipsis"
            )
        for row in self._rows:
            table.add_row(*row)
        # A table that is told of a narrower place would cut every column a little.
        whole = sum(column.width or 0 for column in table.columns) + self._gap * len(self._names)
        yield from console.render(table, options.update_width(max(options.max_width, whole)))

    def _widths(self, room: int) -> Sequence[int]:
        columns = zip(*[[Text(name) for name in self._names], *self._rows], strict=True)
        widths = [max(cell_len(cell.plain) for cell in column) for column in columns]
        if self._grows:
            place = self._names.index(self._grows)
            others = sum(widths) - widths[place] + self._gap * (len(widths) - 1)
            widths[place] = max(LEAST, min(widths[place], room - others))
        return widths
