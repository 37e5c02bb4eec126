"""The machine's helper for Azure against an Azure of the tests' own, over HTTP: the key, the backups."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.azure import on_azure
from tests.conftest import ROOT
from tests.deploy.fakes import KEY, Azure, serving

SCRIPT = ROOT / "deploy/azure/on_azure.py"
TODAY = datetime(2026, 11, 28, 2, 30, tzinfo=UTC)
NAME = "openaq-pipeline-2026-11-28.tar.gz"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """An Azure, at `here`; nobody waits between two tries."""
    made = Azure()
    server = serving(made, "127.0.0.1", 0)
    monkeypatch.setattr(on_azure, "IDENTITY_URL", f"{here(server.server_port)}/metadata/identity/oauth2/token")
    monkeypatch.setenv("KEY_URL", f"{here(server.server_port)}/secrets/openaq-api-key")
    monkeypatch.setenv("BACKUP_URL", f"{here(server.server_port)}/backups")
    monkeypatch.setattr(on_azure, "FIRST_PAUSE_SECONDS", 0.0)
    yield made
    server.shutdown()
    server.server_close()


def here(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def url(azure: Azure) -> str:
    """Where backups go."""
    assert azure
    return os.environ["BACKUP_URL"]


def pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in the place of the program, which is called with `backup --output -`."""
    program = folder / "openaq-pipeline"
    program.write_text(f'#!/bin/sh\n[ "$*" = "backup --output -" ] || exit 2\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setattr(on_azure, "PIPELINE", str(program))


# --- the key ---


def test_the_key_comes_from_the_vault_into_a_file_that_only_its_owner_reads(azure: Azure, tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert on_azure.main(["key", str(file)]) == 0
    assert file.read_text() == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert len(azure.requests) == 2


def test_it_is_asked_again_until_the_role_holds_and_that_is_told_once(
    azure: Azure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.refusals = 5
    waited: list[float] = []
    on_azure.write_key(tmp_path / "key", os.environ["KEY_URL"], sleep=waited.append)
    assert (tmp_path / "key").read_text() == KEY
    assert len(waited) == 5
    told = capsys.readouterr()
    assert told.err == "127.0.0.1 answered 403 to GET /secrets/openaq-api-key. It is tried again.\n"
    assert told.out == ""


def test_the_pauses_grow_to_a_minute_and_no_more(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_azure, "FIRST_PAUSE_SECONDS", 1.0)
    azure.refusals = 9
    waited: list[float] = []
    on_azure.write_key(tmp_path / "key", os.environ["KEY_URL"], sleep=waited.append)
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_key_that_was_changed_takes_the_place_of_the_old_one(azure: Azure, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old")
    (tmp_path / ".key.new").write_text("left by a start that was killed")
    assert on_azure.main(["key", str(tmp_path / "key")]) == 0
    assert (tmp_path / "key").read_text() == KEY
    assert azure


def test_what_is_no_answer_of_a_vault_is_no_key(azure: Azure) -> None:
    for answer in (b"", b"<html>", b"[]", b"{}", b'{"value": 3}', b'{"value": ""}'):
        with pytest.raises(on_azure.NotNow, match=r"^vault\.example answered without a value$"):
            on_azure.text_in(answer, "value", "https://vault.example/secrets/k")
    assert azure


def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(on_azure.NotNow, match="does not answer: ConnectionRefusedError"):
        on_azure.ask("GET", "http://127.0.0.1:9/x", {})
    assert tmp_path


# --- the backups ---


def test_a_backup_is_stored_whole_under_the_day_and_comes_back(
    azure: Azure, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_azure, "BLOCK_BYTES", 1000)
    pipeline(tmp_path, monkeypatch, "seq 2000")
    on_azure.store_backup(url, TODAY)
    whole = "".join(f"{number}\n" for number in range(1, 2001)).encode()
    assert azure.blobs == {f"/backups/{NAME}": whole}
    assert len(azure.blocks) > 5, "in pieces"
    assert capsys.readouterr().out == f"Stored {NAME}\n"
    back = io.BytesIO()
    on_azure.fetch(url, NAME, back)
    assert back.getvalue() == whole
    assert on_azure.main(["list"]) == 0
    assert capsys.readouterr().out == f"{NAME}\n"


def test_a_backup_that_fails_leaves_the_one_before_as_it_was(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline(tmp_path, monkeypatch, "seq 2000; exit 1")
    assert on_azure.main(["backup"]) == 1
    assert azure.blobs == {}
    assert "nothing was stored" in capsys.readouterr().err


def test_a_store_that_falters_is_asked_again_and_one_that_is_down_is_left_alone(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(tmp_path, monkeypatch, "seq 2000")
    azure.failures = 3
    assert on_azure.main(["backup"]) == 0
    assert len(azure.blobs) == 1
    azure.blobs.clear()
    azure.failures = 1000
    assert on_azure.main(["backup"]) == 1
    assert azure.blobs == {}
    assert len([line for line in azure.requests if "comp=block&" in line]) == 4 + on_azure.TRIES


def test_a_backup_that_comes_cut_short_is_told(azure: Azure, url: str) -> None:
    azure.blobs["/backups/a"] = b"whole"
    azure.cut_short = True
    with pytest.raises(on_azure.NotNow, match="did not"):
        on_azure.fetch(url, "a", io.BytesIO())


def test_a_backup_that_is_not_there_is_told(azure: Azure, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_azure.main(["fetch", "nothing"]) == 1
    assert "answered 404 to GET /backups/nothing" in capsys.readouterr().err
    assert azure


def test_without_a_known_word_it_says_what_it_can_do() -> None:
    done = subprocess.run([sys.executable, "-I", SCRIPT, "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "on_azure.py backup" in done.stderr
