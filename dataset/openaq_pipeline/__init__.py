"""OpenAQ Pipeline: a complete, checked, always current copy of the air-quality data of the places you care about.

`openaq_pipeline.load(…)` returns the measurements on disk as an Arrow table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openaq_pipeline.reading.load import load

__all__ = ["load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Bring `load` in when it is asked for: it costs a third of a second, which a poll does not have to spend."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from openaq_pipeline.reading.load import load  # noqa: PLC0415 - see above

    return load
