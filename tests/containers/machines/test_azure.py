"""What cloud-init makes of a machine on Azure: run for real on a Debian with systemd, with stand-ins for Azure.

The data disk is a file of the test's own, the release is the project as it is now, and all of Azure but the address
that gives tokens is reached by TLS.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator

import pytest
import trustme

from tests.conftest import ROOT
from tests.containers.conftest import one_at_a_time
from tests.containers.engine import Engine, until
from tests.containers.machines.machine import Machine, checkout, prepare, running
from tests.deploy.cloud_init import Told
from tests.deploy.fakes import KEY

HOSTS = ("releases.example", "vault.example", "store.example")
FOLDER = "/srv/azure"
SEED = "/var/lib/cloud/seed/nocloud"
DATA = "/var/lib/openaq-pipeline/data"
SIMULATOR = f"/opt/openaq-pipeline/bin/openaq-pipeline simulator --port 8900 --requests-per-minute 0 --key {KEY}"
FAKES = f"/usr/bin/python3 {FOLDER}/fakes.py {FOLDER} {FOLDER}/server.pem"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty disk."""
    image = tmp_path_factory.mktemp("disk") / "image"
    image.touch()
    os.truncate(image, 256 * 1024 * 1024)
    try:
        done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("NOT tested: losetup is not installed")
    if done.returncode:
        pytest.skip(f"NOT tested: no loop device can be had here: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


@pytest.fixture(scope="module")
def machine(engine: Engine, disk: str) -> Iterator[Machine]:
    """A machine on which cloud-init has run, and which has read its first rows."""
    with one_at_a_time():
        prepare(engine)
    release = checkout()
    told = Told(
        LOCATIONS=json.dumps([3459, 5506835]),
        SOURCE_URL="https://releases.example/release.tar.gz",
        SOURCE_SHA256=hashlib.sha256(release).hexdigest(),
        KEY_URL="https://vault.example/secrets/openaq-api-key",
        BACKUP_URL="https://store.example/backups",
    )
    # Once by the name that the kernel gives it, by which it is looked for, and once by the one that Azure gives it.
    devices = [f"--device={disk}", f"--device={disk}:/dev/disk/azure/scsi1/lun0"]
    with running(engine, "host-azure", options=devices) as made:
        serve_azure(made, release)
        made(
            f"mkdir -p {SEED} && echo 'instance-id: the-first' > {SEED}/meta-data && cat > {SEED}/user-data",
            told.cloud_init(),
        )
        made("echo 'datasource_list: [NoCloud]' > /etc/cloud/cloud.cfg.d/99-test.cfg")
        for stage in ("init --local", "init", "modules --mode=config", "modules --mode=final"):
            made.tried(f"cloud-init {stage}", timeout=900)
        give_it_an_openaq(made)
        yield made


def serve_azure(machine: Machine, release: bytes) -> None:
    """Put Azure's stand-ins on the machine, at the names and the address that it knows."""
    authority = trustme.CA()
    files = {
        "fakes.py": (ROOT / "tests/deploy/fakes.py").read_bytes(),
        "release.tar.gz": release,
        "server.pem": authority.issue_cert(*HOSTS).private_key_and_cert_chain_pem.bytes(),
        "ca.pem": authority.cert_pem.bytes(),
    }
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    machine(f"mkdir -p {FOLDER}")
    machine.put(body.getvalue(), FOLDER)
    machine(f"cat {FOLDER}/ca.pem >> /etc/ssl/certs/ca-certificates.crt")
    machine(f"echo '127.0.0.1 {' '.join(HOSTS)}' >> /etc/hosts; ip address add 169.254.169.254/32 dev lo")
    machine(f"printf '[Service]\\nExecStart={FAKES}\\n' > /run/systemd/system/azure.service; systemctl start azure")
    until(lambda: machine.tried("curl --silent https://vault.example/").code == 0, "Azure answers")


def give_it_an_openaq(machine: Machine) -> None:
    """Let the service ask the simulator, which takes no key but the vault's."""
    machine(f"printf '[Service]\\nExecStart={SIMULATOR}\\n' > /run/systemd/system/simulator.service")
    machine("systemctl start simulator; echo OPENAQ_BASE_URL=http://127.0.0.1:8900/v3 > /etc/openaq-pipeline/.env")
    until(lambda: machine.tried("curl --silent http://127.0.0.1:8900/").code == 0, "OpenAQ answers")
    machine("openaq-pipeline preflight")
    machine("systemctl restart openaq-pipeline")
    until(lambda: machine.tried(f"test -s {DATA}/location_5506835.json").code == 0, "rows arrive", machine.journal)


def log(machine: Machine) -> str:
    return machine("cat /var/log/cloud-init-output.log /var/log/cloud-init.log")


def test_cloud_init_finds_no_mistake_in_it(machine: Machine) -> None:
    assert "Valid" in machine(f"cloud-init schema --config-file {SEED}/user-data")


def test_the_key_from_the_vault_opens_openaq_and_rows_arrive_on_the_data_disk(machine: Machine) -> None:
    assert machine("findmnt --noheadings --output FSTYPE,LABEL --mountpoint /var/lib/openaq-pipeline").split() == [
        "ext4",
        "openaq-data",
    ]
    assert machine("systemctl is-active openaq-pipeline-key openaq-pipeline").split() == ["active", "active"]
    assert machine("openaq-pipeline monitor --check; echo $?").endswith("0")
    asked = machine(f"cat {FOLDER}/requests.log").splitlines()
    assert len([line for line in asked if line.startswith("GET /secrets/openaq-api-key")]) == 3, "two were refused"


def test_what_starts_with_the_machine_is_switched_on(machine: Machine) -> None:
    for unit in ("openaq-pipeline.service", "openaq-pipeline-key.service", "openaq-pipeline-backup.timer"):
        assert machine(f"systemctl is-enabled {unit}") == "enabled"
    for unit in ("openaq-pipeline.service", "openaq-pipeline-backup.service", "openaq-pipeline-key.service"):
        assert machine.tried(f"systemd-analyze verify /etc/systemd/system/{unit}").said == ""
    assert machine("apt-config dump APT::Periodic::Unattended-Upgrade") == 'APT::Periodic::Unattended-Upgrade "1";'
    assert '"true"' in machine("apt-config dump Unattended-Upgrade::Automatic-Reboot")


def test_the_key_lies_in_memory_alone_and_no_log_has_it(machine: Machine) -> None:
    assert KEY in machine("cat /etc/openaq-pipeline/openaq-api-key")
    assert machine("stat --format %a /run/openaq-pipeline-key /run/openaq-pipeline-key/openaq-api-key").split() == [
        "700",
        "600",
    ]
    for secret in (KEY, "token for https"):
        # The stand-ins have both in their own source.
        looked = "/etc /opt /root /usr/local /var /tmp"
        found = machine(f"grep --recursive --files-with-matches --binary-files=text '{secret}' {looked} || true")
        assert [name for name in found.splitlines() if not name.endswith("/tests/deploy/fakes.py")] == []
        assert secret not in machine("journalctl --no-pager --unit 'openaq-pipeline*'")
        mine = machine("cat /proc/$(systemctl show --value --property MainPID openaq-pipeline)/cmdline | tr '\\0' ' '")
        assert secret not in mine


def test_another_key_is_fetched_when_its_unit_is_restarted_and_the_pipeline_with_it(machine: Machine) -> None:
    before = machine.shows("MainPID")
    machine("systemctl restart openaq-pipeline-key")
    until(lambda: machine.shows("ActiveState") == "active" and machine.shows("MainPID") != before, "it is restarted")


def test_a_backup_is_stored_and_brings_the_data_back(machine: Machine) -> None:
    machine.says("The next run is due at")
    machine("systemctl start openaq-pipeline-backup")
    name = machine("openaq-pipeline-backups list")
    assert name.startswith("openaq-pipeline-2")
    machine("systemctl stop openaq-pipeline")
    before = machine(f"cd {DATA} && sha256sum location_*.json .state.json")
    machine(f"mv {DATA} /var/lib/openaq-pipeline/old")
    machine(f"openaq-pipeline-backups fetch {name} | openaq-pipeline restore -")
    assert machine(f"cd {DATA} && sha256sum location_*.json .state.json") == before
    machine("systemctl start openaq-pipeline")
    assert machine("openaq-pipeline verify; echo $?").endswith("0")


def test_without_the_data_disk_nothing_is_written_in_its_place(machine: Machine) -> None:
    machine("systemctl stop openaq-pipeline; umount /var/lib/openaq-pipeline")
    try:
        assert machine.tried("systemctl start openaq-pipeline").code != 0
        assert machine("ls -A /var/lib/openaq-pipeline") == ""
    finally:
        machine("sh deploy/azure/data-disk.sh /var/lib/openaq-pipeline /dev/disk/azure/scsi1/lun0")
    machine("systemctl reset-failed openaq-pipeline || true; systemctl start openaq-pipeline")
    assert machine(f"ls {DATA}/location_3459.json")
