"""What the image's build does to make it small and quick to start: leave out what no command needs, compile the rest.

    python slim.py packages /opt/venv   take from an environment what stands in LEFT_OUT, and compile it
    python slim.py compile FOLDER       compile a folder
    python slim.py library              compile the standard library

Compiled files are never compared with their sources: in an image these do not change.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import sys
import sysconfig
from pathlib import Path

LEFT_OUT = {
    # Arrow's network services, and programs that others build on it.
    "pyarrow/libarrow_flight.so.*": "services over the network",
    "pyarrow/libarrow_python_flight.so*": "services over the network",
    "pyarrow/_flight.*": "services over the network",
    "pyarrow/include": "for building on Arrow in C++",
    "pyarrow/src": "for building on Arrow in C++",
    "pyarrow/includes": "for building on Arrow in Cython",
    "pyarrow/*.p[xy][xdi]": "for building on Arrow in Cython",
    "pyarrow/tests": "Arrow's own tests",
    "pyarrow/_pyarrow_cpp_tests.*": "Arrow's own tests",
    # A wheel has no links, so each library is there thrice; the loader asks for the name with one number.
    "pyarrow/libarrow_python*.so": "a second copy",
    "pyarrow/libarrow_python*.so.*.*.*": "a third copy",
    "numpy/**/tests": "NumPy's own tests",
    "numpy/f2py": "for calling Fortran",
    "numpy/_core/include": "for building on NumPy in C",
    "numpy/_core/lib": "for building on NumPy in C",
    "numpy/random/lib": "for building on NumPy in C",
    # Pictures are written as PNG alone.
    "pillow.libs/libavif-*": "pictures as AVIF",
    "PIL/_avif.*": "pictures as AVIF",
    # rich colours no source code.
    "pygments/lexers/[!_]*": "grammars of programming languages",
    "**/*.pyi": "types, for editors",
}
"""Patterns within site-packages, and what for it would be."""

NEVER_LOADED = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|distutils|site-packages|dist-packages)/"
)
"""Of the standard library."""


def take_out(site: Path) -> int:
    """Remove what is left out; return its bytes."""
    found = {path for pattern in LEFT_OUT for path in site.glob(pattern)}
    taken = sum(_size(path) for path in found if not found & set(path.parents))
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return taken


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def compiled(folder: Path, leave: re.Pattern[str] | None = None) -> None:
    """Compile all there is in a folder; raises `SystemExit` for what can't be."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, maxlevels=20, quiet=1, rx=leave, workers=0, invalidation_mode=unchecked):
        raise SystemExit(f"{folder} could not be compiled")


def main(job: str, folder: str = "") -> None:
    """Do one of the jobs."""
    if job == "packages":
        (site,) = Path(folder).glob("lib/python3*/site-packages")
        print(f"left out: {take_out(site) / 1e6:.0f} MB")
        compiled(site)
        _entry(Path(folder), site)
    elif job == "library":
        compiled(Path(sysconfig.get_path("stdlib")), NEVER_LOADED)
    else:
        compiled(Path(folder))


def _entry(environment: Path, site: Path) -> None:
    """Let the environment find the program, and the program be a command of it."""
    (site / "openaq_pipeline.pth").write_text("/app/dataset\n")
    command = environment / "bin" / "openaq-pipeline"
    command.write_text(
        f"#!{environment}/bin/python\nimport sys\n\nfrom openaq_pipeline.cli import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
