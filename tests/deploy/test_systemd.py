"""deploy/systemd on a copy of this machine that is thrown away: what the installer leaves, and what it mends.

The machine is the real one, with real users and files, under a layer that takes all that is written; pip alone is a
stand-in. On a machine with a running systemd tests/containers/machines installs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents import section

UNIT = ROOT / "deploy/systemd/openaq-pipeline.service"
DATA = "/var/lib/openaq-pipeline"
CHECKOUT = "/checkout"
STANDINS = {
    # `python3 -m venv FOLDER`: a pip that builds as setuptools does, and says what it finds of the build before.
    "python3": """\
mkdir -p "$3/bin"
cat > "$3/bin/pip" <<'END'
#!/bin/sh
case "$*" in *--no-deps*) find build -name '*.py' 2>/dev/null; mkdir -p build/lib && touch build/lib/module.py ;; esac
END
chmod +x "$3/bin/pip"
""",
    "systemctl": "",
}

Shell = Callable[[str], str]


@pytest.fixture
def machine(tmp_path: Path) -> Shell:
    """Run lines of shell as root of a machine that ends with the test, in a checkout."""
    layers = [tmp_path / name for name in ("upper", "work", "root")]
    for folder in layers:
        folder.mkdir()
    upper, work, root = layers
    (upper / CHECKOUT[1:]).mkdir(mode=0o755)
    shutil.copytree(ROOT / "deploy", upper / CHECKOUT[1:] / "deploy")
    shutil.copy(ROOT / "config.yaml", upper / CHECKOUT[1:])
    (upper / "standins").mkdir(mode=0o755)
    for name, script in STANDINS.items():
        (upper / "standins" / name).write_text(f"#!/bin/sh\n{script}")
        (upper / "standins" / name).chmod(0o755)
    over = f"mount -t overlay overlay -o lowerdir=/,upperdir={upper},workdir={work} {root}"

    def run(script: str) -> str:
        inside = f'{over} && exec chroot {root} env --chdir={CHECKOUT} PATH="/standins:$PATH" sh -ec "$0"'
        command = ["unshare", "--mount", "sh", "-c", inside, script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    missing = [tool for tool in ("unshare", "useradd") if shutil.which(tool) is None]
    if os.geteuid() or missing:
        pytest.skip(f"NOT tested: it takes root and {', '.join(missing) or 'layers'}")
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", over], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"NOT tested: no layer can be put over this machine: {probe.stderr.strip()}")
    run(f"userdel openaq 2>/dev/null || true; rm -rf {DATA} /etc/openaq-pipeline /opt/openaq-pipeline")
    return run


def install(machine: Shell) -> str:
    return machine("sh deploy/systemd/install.sh")


def test_the_data_disk_of_another_machine_belongs_to_the_user_of_this_one(machine: Shell) -> None:
    machine(
        f"""
        mkdir -p {DATA}/data/history {DATA}/lost+found
        touch {DATA}/data/location_1.json /root/not-ours
        ln -s /root/not-ours {DATA}/data/link
        chown -hR 4321:4321 {DATA}
        chown root:root {DATA}/lost+found
        """
    )
    install(machine)
    assert machine(f"find {DATA} ! -user openaq -o ! -group openaq").split() == [f"{DATA}/lost+found"]
    assert machine("stat --format %U /root/not-ours") == "root\n"


def test_in_a_folder_of_the_users_own_nothing_is_taken_from_others(machine: Shell) -> None:
    install(machine)
    assert machine(f"stat --format '%U %a' {DATA}") == "openaq 750\n"
    machine(f"touch {DATA}/of-root")
    install(machine)
    assert machine(f"stat --format %U {DATA}/of-root") == "root\n"


def test_nothing_of_an_earlier_build_is_installed_and_none_is_left(machine: Shell) -> None:
    machine("mkdir -p build/lib && touch build/lib/removed_by_a_release.py")
    assert install(machine) == ""
    assert "build" not in machine("ls").split()


def said(*arguments: object) -> str:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_manual_says_how_much_systemd_thinks_is_left_open() -> None:
    if shutil.which("systemd-analyze") is None or not said("--version").startswith("systemd 252 "):
        pytest.skip("NOT tested: the figure is that of systemd 252, each version counts in its own way")
    found = re.search(r"Overall exposure level .*: ([0-9.]+) ", said("security", "--no-pager", "--offline=yes", UNIT))
    assert found
    assert f"gives it {found[1]} of 10" in " ".join(section("systemd").split())
