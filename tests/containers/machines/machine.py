"""A machine with a real systemd, in a container: Debian 12 as an installer or Azure leaves it, and no network.

What is installed on it comes from a folder of wheels that were fetched here, in the locked versions. The image has
these packages already, installed as the installer does it: that takes longest of all. Nothing else is done before.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.containers.engine import BUILD_SECONDS, Container, Done, Engine, Failed, until
from tests.containers.standin import HOOKS, LEFT_OUT

NAMES = "openaq-pipeline-machine"
BARE, IMAGE = f"{NAMES}:bare", f"{NAMES}:packages"
LOCK = ROOT / "requirements.lock"
HOME = "/opt/openaq-pipeline"
LABEL = "recipe"
PACKAGES = (
    *("systemd", "systemd-sysv", "procps", "python3", "python3-venv", "ca-certificates"),
    *("cloud-init", "curl", "e2fsprogs", "unattended-upgrades"),  # what deploy/azure asks for, or finds there
)
RIGHTS = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE")
CHECKOUT = "/root/openaq-pipeline"
WHEELS = "/wheels"
PIP_SETTINGS = f"[global]\nno-index = true\nfind-links = {WHEELS}\n"

# systemd hands secrets over by mounts, which nobody would see in a tree that is private, as a container's is.
START = "mount --make-rshared / && exec /sbin/init"


def prepare(engine: Engine) -> None:
    """Make what takes long, and is kept; skips, and says so, where it can't be."""
    settings = f"printf '{PIP_SETTINGS}' > /etc/pip.conf"
    command = f"{settings}; python3 -m venv {HOME} && {HOME}/bin/pip install --require-hashes --requirement /lock"
    recipe = _hash(*PACKAGES, *LEFT_OUT, HOOKS, command, LOCK.read_text())
    if _is_made(engine, IMAGE, recipe):
        return
    name = f"{NAMES}-packages"
    engine.call("rm", "--force", name)
    volumes = (f"--volume={wheels()}:{WHEELS}:ro", f"--volume={LOCK}:/lock:ro")
    engine("run", "--name", name, *volumes, "--network=none", _bare(engine), "sh", "-c", command, timeout=BUILD_SECONDS)
    engine("commit", "--change", f"LABEL {LABEL}={recipe}", name, IMAGE, timeout=BUILD_SECONDS)
    engine.call("rm", "--force", "--volumes", name)


def _bare(engine: Engine) -> str:
    """Return the image of a machine on which nothing of ours is installed, made if need be."""
    recipe = _hash(*PACKAGES, *LEFT_OUT, HOOKS)
    if _is_made(engine, BARE, recipe):
        return BARE
    if shutil.which("mmdebstrap") is None:
        pytest.skip("NOT tested: mmdebstrap is not installed")
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "root.tar"
        excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
        includes = f"--include={','.join(PACKAGES)}"
        _run("mmdebstrap", "--variant=minbase", f"--hook-dir={HOOKS}", includes, *excludes, "bookworm", str(tar))
        engine("import", "--change", f"LABEL {LABEL}={recipe}", str(tar), BARE, timeout=BUILD_SECONDS)
    return BARE


def _is_made(engine: Engine, name: str, recipe: str) -> bool:
    return engine.has(name) and (engine.inspect(name)["Config"]["Labels"] or {}).get(LABEL) == recipe


def wheels() -> Path:
    """Return a folder with all packages that are locked, and what the project itself is built with, for Python 3.11."""
    folder = Path(tempfile.gettempdir(), f"openaq-pipeline-wheels-{_hash(LOCK.read_text())}")
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            for wanted in (["--no-deps", "--require-hashes", "--requirement", str(LOCK)], ["setuptools>=75"]):
                options = [
                    "--quiet",
                    "--only-binary",
                    ":all:",
                    "--python-version",
                    "3.11",
                    "--dest",
                    f"{beside}/wheels",
                ]
                _run(sys.executable, "-m", "pip", "download", *options, *wanted)
            Path(beside, "wheels").replace(folder)
    return folder


def checkout() -> bytes:
    """Return the project as it is now, as a tar.gz whose one folder is `project`."""
    listed = _run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz", compresslevel=1) as tar:
        for name in listed.split("\0"):
            if name and (ROOT / name).is_file():
                tar.add(ROOT / name, f"project/{name}", recursive=False)
    return body.getvalue()


class Machine(Container):
    """A container in which systemd is process 1."""

    def __call__(self, script: str, stdin: str | None = None, timeout: float = BUILD_SECONDS) -> str:
        """Run lines of shell as root and return what they print; raises `Failed` at the first that fails."""
        done = self.tried(script, stdin, timeout)
        if done.code:
            raise Failed(f"ended with {done.code}: {done.said[-3000:]}\n{script}")
        return done.out.strip()

    def tried(self, script: str, stdin: str | None = None, timeout: float = BUILD_SECONDS) -> Done:
        """The same, whatever comes of it."""
        with tempfile.TemporaryFile("w+") as given:
            given.write(stdin or "")
            given.seek(0)
            command = ("exec", "--interactive", "--workdir", CHECKOUT, self.name, "bash", "-ec", script)
            return self._engine.call(*command, stdin=given, timeout=timeout)

    def put(self, tar: bytes, folder: str) -> None:
        """Unpack a tar file in a folder of the machine."""
        with tempfile.TemporaryFile() as given:
            given.write(tar)
            given.seek(0)
            self._engine("cp", "-", f"{self.name}:{folder}", stdin=given)

    def shows(self, name: str, unit: str = "openaq-pipeline") -> str:
        """What systemd knows of a unit under this name."""
        return self(f"systemctl show --value --property {name} {unit}")

    def journal(self, unit: str = "openaq-pipeline") -> str:
        """All that a unit has said."""
        return self(f"journalctl --no-pager --unit {unit} --output cat")

    def says(self, text: str, unit: str = "openaq-pipeline", times: int = 1) -> None:
        """Wait until a unit has said something, and so often."""
        until(
            lambda: self.journal(unit).count(text) >= times, f"{unit} says {text!r}", lambda: self.journal(unit)[-3000:]
        )


@contextmanager
def running(engine: Engine, name: str, *, options: Sequence[str] = ()) -> Iterator[Machine]:
    """Give a machine that has started, with a checkout of the project; wants `prepare` before."""
    engine.call("rm", "--force", name)
    rights = [option for right in RIGHTS for option in ("--cap-add", right)]
    free = [
        f"--security-opt={each}" for each in ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")
    ]
    mounts = ["--tmpfs=/run", "--tmpfs=/tmp:exec", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns=host"]
    engine(
        *("run", "--detach", "--name", name, "--network=none", "--env=container=docker", "--stop-signal=SIGRTMIN+3"),
        *(*rights, *free, *mounts, f"--volume={wheels()}:{WHEELS}:ro", *options),
        *(IMAGE, "sh", "-c", START),
    )
    try:
        machine = Machine(engine, name)
        machine.put(checkout(), "/root")
        engine("exec", name, "mv", "/root/project", CHECKOUT)
        _wait_for(machine)
        yield machine
    finally:
        engine.call("rm", "--force", "--volumes", name)


def _wait_for(machine: Machine) -> None:
    """Wait until systemd has started everything; skips, and says so, where it does not start in a container."""
    try:
        until(
            lambda: machine.tried("systemctl is-system-running").out.strip() in {"running", "degraded"},
            "systemd has started",
        )
    except Failed:
        pytest.skip(f"NOT tested: systemd does not start in a container here: {machine.log[-500:]}")
    assert machine("systemctl --failed --plain --no-legend") == ""


def _hash(*texts: str) -> str:
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:16]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout
