"""Files that are not what was written (scenarios 9 and 10): each is set aside, and what it held is there again."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from openaq_pipeline import locks
from openaq_pipeline.errors import FatalError, RetriableError
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Page, Window
from openaq_pipeline.order import Order
from openaq_pipeline.verify import verify
from tests.faults import light, oracle
from tests.faults.conftest import Tally, Times

LAST = light.FIRST_MOVE - 2
"""The last round before the damage: eight days are in the location files, which is more than a first load reads."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder after the last round before the damage, and beside it `next`, which is a round further."""
    found = tmp_path_factory.mktemp("damage") / "data"
    assert light.store(found, 0, LAST, lambda _line: None) == 0
    after = found.with_name("next")
    shutil.copytree(found, after)
    assert light.store(after, LAST + 1, LAST + 1, lambda _line: None) == 0
    return found


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


@pytest.fixture
def expected(sound: Path) -> oracle.Content:
    return oracle.content(sound.with_name("next"))


def poll(folder: Path, number: int = LAST + 1) -> light.MadeUp:
    """Do a round, the next one or a later one, and return the source that was asked."""
    locks.make_folder(folder)
    return light.Light(folder).round(number, lambda _line: None)


def aside(folder: Path, name: str) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob(f"{name}.damaged-*")]


# --- the state ---


def changed(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def damage(body: bytes) -> bytes:
        state = json.loads(body)
        change(state)
        return json.dumps(state).encode()

    return damage


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _body: b"",
    "half": lambda body: body[: len(body) // 2],
    "NULs": lambda body: bytes(len(body)),
    "[]": lambda _body: b"[]",
    "null": lambda _body: b"null",
    "{}": lambda _body: b"{}",
    "not UTF-8": lambda body: body.replace(b"locations", b"locat\xffons"),
    "nested": lambda _body: b"[" * 200_000,
    "an old version": changed(lambda state: state.update(version=0)),
    "wrong types": changed(lambda state: state.update(locations=[1, 2])),
    "times without a zone": lambda body: body.replace(b'Z"', b'"'),
    "two files in one": lambda body: body + body,
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_state_is_set_aside_and_rebuilt_from_the_data(
    damage: Callable[[bytes], bytes], folder: Path, expected: oracle.Content, tally: Tally
) -> None:
    path = folder / ".state.json"
    body = damage(path.read_bytes())
    path.write_bytes(body)
    asked = poll(folder).asked
    assert aside(folder, ".state.json") == [body]
    oracle.check(folder, expected=expected, restarted=True)
    assert_goes_on(asked)
    tally(9, "a damaged state file of each kind", 1)


def assert_goes_on(asked: list[tuple[int, Window]], location_ids: Sequence[int] = light.LOCATIONS) -> None:
    """See that each sensor is read from in front of its last row, and not all over again."""
    last = light.moment(LAST)
    assert {sensors_id for sensors_id, _ in asked} == {each.id for key in location_ids for each in light.sensors(key)}
    for _, window in asked:
        assert light.BEGINNING < window.start < last, "neither from now nor from the beginning"


def test_a_deleted_state_is_rebuilt_from_the_data(folder: Path, tmp_path: Path, tally: Tally) -> None:
    later = LAST + 12  # six days on, which is more than any look-back
    undisturbed = shutil.copytree(folder, tmp_path / "undisturbed")
    poll(undisturbed, later)
    (folder / ".state.json").unlink()
    asked = poll(folder, later).asked
    oracle.check(folder, expected=oracle.content(undisturbed), restarted=True)
    assert_goes_on(asked)
    tally(9, "a deleted state file", 1)


def test_a_state_of_a_newer_version_is_refused_and_nothing_is_touched(folder: Path, tally: Tally) -> None:
    path = folder / ".state.json"
    path.write_bytes(changed(lambda state: state.update(version=99))(path.read_bytes()))
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    with pytest.raises(FatalError, match="newer version"):
        poll(folder)
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before
    tally(9, "a state file of a newer version: refused, nothing changed", 1)


# --- a location's file ---


def lines_of(body: bytes) -> list[bytes]:
    return body.splitlines(keepends=True)


def cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) - 1)]


def cut_in_front(body: bytes, chance: random.Random) -> bytes:
    return body[chance.randrange(1, len(body)) :]


def noise(body: bytes, chance: random.Random) -> bytes:
    """Overwrite a sector."""
    start = chance.randrange(len(body) - 600)
    return body[:start] + chance.randbytes(512) + body[start + 512 :]


def zeros(body: bytes, chance: random.Random) -> bytes:
    """Lose a page."""
    start = chance.randrange(max(1, len(body) // 4096)) * 4096
    return (body[:start] + bytes(min(4096, len(body) - start)) + body[start + 4096 :])[: len(body)]


def broken_lines(body: bytes, chance: random.Random) -> bytes:
    lines = lines_of(body)
    for _ in range(chance.randrange(1, 20)):
        place = chance.randrange(1, len(lines) - 1)
        lines[place] = lines[place].replace(b"{", b"(")
    return b"".join(lines)


def of_another_location(body: bytes, chance: random.Random) -> bytes:
    lines = lines_of(body)
    place = chance.randrange(1, len(lines) - 1)
    lines[place] = lines[place].replace(b'"location_id":7', b'"location_id":9')
    return b"".join(lines)


def out_of_order(body: bytes, chance: random.Random) -> bytes:
    lines = lines_of(body)
    one, other = sorted(chance.sample(range(1, len(lines) - 2), 2))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def twice(body: bytes, chance: random.Random) -> bytes:
    lines = lines_of(body)
    place = chance.randrange(1, len(lines) - 2)
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def empty(_body: bytes, _chance: random.Random) -> bytes:
    return b""


SPOILT = (cut, cut_in_front, noise, zeros, broken_lines, of_another_location, out_of_order, twice, empty)


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_location_file_is_named_set_aside_and_whole_again_after_one_poll(
    spoil: Callable[[bytes, random.Random], bytes],
    folder: Path,
    expected: oracle.Content,
    chance: random.Random,
    times: Times,
    tally: Tally,
) -> None:
    path, other = folder / "location_7.json", folder / "location_8.json"
    sound, count = path.read_bytes(), times(1, 60)
    for number in range(count):
        again = folder.with_name(str(number))
        shutil.copytree(folder, again)
        (again / path.name).write_bytes(spoil(sound, chance))
        named = {found.file for found in verify(again).findings if found.severity == "error"}
        assert path.name in named
        assert other.name not in named
        asked = [(sensors_id, window) for sensors_id, window in poll(again).asked if sensors_id // 10 == 8]
        assert_goes_on(asked, location_ids=[8])
        found = oracle.check(again, held=expected, restarted=True)
        oracle.check_same({place: row for place, row in found.items() if place in expected}, expected)
        shutil.rmtree(again)
    tally(10, "a location file cut, overwritten, zeroed, mixed up, with rows of others", count)


class Failing(light.MadeUp):
    """A source that has nothing to say of one sensor."""

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        if sensors_id == 71:
            raise RetriableError("made to fail")
        return super().measurements(location_id, sensors_id, window, attempts=attempts)


def test_what_could_not_be_read_again_at_once_is_read_later_from_where_the_file_begins(
    folder: Path, expected: oracle.Content, chance: random.Random
) -> None:
    path = folder / "location_7.json"
    path.write_bytes(cut_in_front(path.read_bytes(), chance))
    run = light.Light(folder)
    run.begin(light.moment(LAST))
    report = ingest(run.parts(Failing(light.moment(LAST))), 7, Order(light.moment(LAST))).report
    assert report.outcome == "partial"
    run.end()
    poll(folder)
    oracle.check(folder, held=expected, restarted=True)


def test_bits_that_rot_under_an_unchanged_time_are_found_by_verify(folder: Path, chance: random.Random) -> None:
    path = folder / "location_7.json"
    stat = path.stat()
    path.write_bytes(broken_lines(path.read_bytes(), chance))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert {found.file for found in verify(folder).findings if found.severity == "error"} == {path.name}
