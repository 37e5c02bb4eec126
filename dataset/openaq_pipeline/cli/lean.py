"""What a process of the program does without, so that a start costs little: set before anything heavy is loaded."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

GARBAGE_AFTER = 50_000
"""So many more objects than before make Python look for garbage in circles; Python's own 700 are a page of rows."""


def become_lean() -> None:
    """Set what Python and the libraries take from the process and its environment; leave no core behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash would write the memory to disk, with all secrets in it
    gc.set_threshold(GARBAGE_AFTER)
    # Looking for pydantic's plugins reads the metadata of every package that is installed; this program has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    # Arrow's own allocator keeps what was freed, 60 to 90 MB of it; which one it is is settled when Arrow is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not any(isinstance(finder, _WithoutPandas) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutPandas())


class _WithoutPandas(MetaPathFinder):
    """Hides pandas: Arrow loads it wherever it is installed, only to ask whether a list is a series of its own.

    That is 0.3 s and 45 MB of each run. No command uses pandas; who imports `openaq_pipeline.load` has it as ever.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for pandas; leave all else to the finders that follow."""
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is of no use to the program", name=fullname)
        return None
