"""Scripts that lie beside the program, in no package: loaded as a module, so that a test can call what is in them."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from tests.conftest import ROOT


def script(path: str) -> ModuleType:
    """Return the script at a path below the project's root; its name as a module can't be that of another one."""
    name = path.replace("/", "_").replace(".", "_")
    spec = spec_from_file_location(name, ROOT / path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[name] = module  # where a named tuple looks for its types
    spec.loader.exec_module(module)
    return module
