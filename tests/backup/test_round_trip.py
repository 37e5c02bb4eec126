"""What is backed up comes back, byte for byte, and is worked on as if nothing had happened."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.backup import names
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.monitoring.log import path_of
from openaq_pipeline.run import run_once
from openaq_pipeline.verify import verify
from tests.backup.archives import Found, content, files, lay_out, made, opened, put_back, written
from tests.verify.conftest import Kept

IDS = st.one_of(st.integers(1, 30), st.integers(1, names.MOST_ID))
NAMES = st.one_of(
    st.sampled_from((names.STATE, *names.LAST, ".state.json.damaged-20260102T030405Z")),
    st.builds(
        lambda form, location_id, year: form.format(location_id, f"{year:04}"),
        st.sampled_from(names._OF_LOCATION),
        IDS,
        st.integers(1, 9999),
    ),
    st.builds("location_{}.json.damaged-20260102T030405Z-17".format, IDS),
    st.builds("damaged/location_{}.2024.measurements.parquet.damaged-20260102T030405Z".format, IDS),
)
BODIES = st.one_of(st.binary(max_size=2000), st.integers(0, 400_000).map(bytes))


@given(st.dictionaries(NAMES, BODIES, min_size=1))
def test_all_files_of_any_folder_come_back_byte_for_byte_with_their_times(bodies: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = lay_out(Path(place) / "data", {**bodies, names.STATE: b"{}"})
        body = made(folder)
        back = put_back(body, Path(place) / "back")
        assert files(back) == files(folder) == content(body)
        for name in bodies:
            assert (back / name).stat().st_mtime_ns == (folder / name).stat().st_mtime_ns


def test_a_folder_with_everything_is_sound_after_it_came_back_and_a_run_fetches_nothing_anew(
    kept: Kept, tmp_path: Path
) -> None:
    back = kept._replace(
        settings=kept.settings.model_copy(update={"data_dir": put_back(made(kept.data), tmp_path / "back")})
    )
    assert files(back.data) == files(kept.data)
    assert verify(back.data).findings == verify(kept.data).findings
    before = back.rows()
    report = run_once(back.settings)
    assert report.complete
    assert (report.counts.new, report.counts.revised) == (0, 0)
    assert back.rows() == before == kept.rows()
    assert not back.errors()


def test_nothing_is_taken_but_what_is_meant_to_be(kept: Kept) -> None:
    kept.data.joinpath(".locks").mkdir(exist_ok=True)
    strangers = (
        ".lock",
        ".locks/location_1.lock",
        ".probe",
        ".location_7.json.tmp",
        "pipeline.log",
        "pipeline.log.1",
        "budget-0123.sqlite",
        "budget-0123.sqlite-wal",
        "config.yaml",
        ".env",
        "notes.txt",
        "history/README",
        "history/location_id=7/year=2024/.measurements.parquet.tmp",
        "location_99999999999.json",
        "location_07.json",
    )
    before = content(made(kept.data))
    lay_out(kept.data, dict.fromkeys(strangers, b"no data"))
    assert content(made(kept.data)) == before
    assert path_of(kept.settings).name not in before


def test_the_state_comes_first_and_all_names_stand_in_their_order(folder: Path) -> None:
    found = list(content(made(folder)))
    assert found[0] == names.STATE
    assert found == sorted(found, key=lambda name: names.place_of(name) or names.Place(-1))
    assert set(found) == files(folder).keys()


def test_any_program_for_tar_files_can_read_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_bytes(made(folder))
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "b.tar.gz", "-C", tmp_path / "unpacked"], check=True)
    unpacked = files(tmp_path / "unpacked")
    assert unpacked.pop("backup.json")
    assert unpacked.pop("manifest.jsonl")
    assert unpacked == files(folder)


def test_what_is_told_of_it_is_so(folder: Path) -> None:
    done, body = written(folder)
    assert (done.archive_bytes, done.sha256) == (len(body), sha256(body).hexdigest())
    assert (done.locations, done.totals.files) == (1, len(files(folder)))
    assert done.totals.bytes == sum(map(len, files(folder).values()))
    assert opened(body).read(Found()) == done.totals


def test_links_are_followed_so_that_what_lives_on_another_disk_is_in_it(folder: Path, tmp_path: Path) -> None:
    expected = files(folder)
    shutil.move(folder / "history", tmp_path / "elsewhere")
    (folder / "history").symlink_to(tmp_path / "elsewhere")
    shutil.move(folder / "location_7.json", tmp_path / "live.json")
    (folder / "location_7.json").symlink_to(tmp_path / "live.json")
    assert content(made(folder)) == expected


def test_a_folder_without_data_is_not_backed_up(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="no data"):
            made(place)


def test_what_is_no_file_ends_it_at_once(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    subprocess.run(["mkfifo", folder / "metrics.json"], check=True)
    with pytest.raises(StorageError, match="is no file"):
        made(folder)


@pytest.mark.parametrize("present", [".lock", ".locks/x", "pipeline.log", "pipeline.log.3", "lost+found/x", ".probe"])
def test_what_a_start_leaves_behind_is_no_data(folder: Path, tmp_path: Path, present: str) -> None:
    lay_out(tmp_path / "back", {})
    lay_out(tmp_path / "back", {present: b""})
    put_back(made(folder), tmp_path / "back")
    assert (tmp_path / "back/location_7.json").exists()


@pytest.mark.parametrize("present", ["location_1.json", "metrics.json", "thesis.docx", "history/location_id=1/x"])
def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(
    folder: Path, tmp_path: Path, present: str
) -> None:
    there = lay_out(tmp_path / "back", {present: b"mine"})
    with pytest.raises(ConfigError, match="is not empty") as caught:
        put_back(made(folder), there)
    assert "--data-dir" in caught.value.hint
    assert files(there) == {present: b"mine"}
