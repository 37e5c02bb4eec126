"""Answers that are cut, slow, puffed up, swapped or refused: nothing of them is stored, and the next run heals."""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from openaq_pipeline.openaq import session
from openaq_pipeline.openaq.budget import MAX_RESET_SECONDS
from openaq_pipeline.openaq.session import ATTEMPTS, FALTERING_AFTER, OUTAGE_AFTER
from openaq_pipeline.reports import RunReport
from tests.faults import manners, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Exchange, Manner, faulty
from tests.faults.net import KEY, LAST, LATER, SILENCE_SECONDS, START, Bench, bench, copied, name_of

SLACK_SECONDS = 8.0

EVERYTHING = (*manners.CUT, *manners.SWAPPED, *manners.SLOW, *manners.LARGE)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


@pytest.fixture
def made(old: Bench, tmp_path: Path) -> Iterator[Bench]:
    with copied(old, tmp_path) as found:
        yield found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, times: Times) -> None:
    """What is too large is so a little sooner, but for the long tier: test_memory has the true limit."""
    monkeypatch.setattr(session, "MAX_BODY_BYTES", times(1_000_000, session.MAX_BODY_BYTES))


def rejected_whole(made: Bench, report: RunReport) -> None:
    """Assert that nothing of the target's page was stored, that this is told, and that its neighbours went on."""
    before, after = made.watermarks_before, made.watermarks()
    assert after[made.target] == before[made.target], "the watermark did not move"
    assert not {stamp for stamp in made.rows_of(made.target) if stamp.isoformat() > before[made.target]}
    assert not report.complete
    assert [each.outcome for each in report.locations] == ["partial", "ok"]
    assert not any(each.bug for each in report.locations)
    for sensors_id in before.keys() - {made.target}:
        assert after[sensors_id] > before[sensors_id], "other sensors go on"
    made.kept_the_budget()


@pytest.mark.parametrize("manner", [*manners.CUT, *manners.SWAPPED], ids=name_of)
def test_a_page_that_is_no_whole_page_is_rejected_and_the_next_run_heals(
    made: Bench, manner: Manner, tally: Tally
) -> None:
    made.server.arm(manner, made.page)
    rejected_whole(made, made.poll(LATER))
    made.heals()
    tally(17, "faulty server, the pages of one sensor", 1)


@pytest.mark.usefixtures("small")
def test_a_page_that_does_not_end_or_is_far_too_large_is_rejected_as_well(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    for group in (manners.SLOW, manners.LARGE):
        for manner in chance.sample(group, times(2, len(group))):
            with copied(old, tmp_path / name_of(manner)) as made:
                made.server.arm(manner, made.page)
                began = time.monotonic()
                rejected_whole(made, made.poll(LATER))
                assert time.monotonic() - began < ATTEMPTS * 2 * SILENCE_SECONDS + SLACK_SECONDS, (
                    "each has its deadline"
                )
                made.heals()
            tally(_number(manner), "faulty server, the pages of one sensor", 1)


def _number(manner: Manner) -> int:
    return 18 if manner in manners.SLOW else 19 if manner in manners.LARGE else 17


@pytest.mark.usefixtures("small")
def test_when_every_answer_is_broken_nothing_changes_and_the_next_run_heals(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    quick = chance.sample((*manners.CUT, *manners.SWAPPED), 4)
    for manner in times(0, 1) * EVERYTHING or quick:
        with copied(old, tmp_path / name_of(manner)) as made:
            made.server.arm(manner)
            before = oracle.content(made.folder)
            report = made.poll(LATER)
            assert {each.outcome for each in report.locations} == {"failed"}
            assert made.watermarks() == made.watermarks_before
            assert oracle.check(made.folder) == before
            made.kept_the_budget()
            made.heals()
            tally(_number(manner), "faulty server, every answer", 1)


@pytest.mark.usefixtures("small")
def test_whatever_comes_between_good_answers_the_data_stay_true_and_complete_themselves(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    some = (*manners.CUT, *manners.SWAPPED, *times(0, 1) * (*manners.LARGE, *manners.SLOW))
    for number in range(times(3, 150)):
        with copied(old, tmp_path / str(number)) as made:
            for hours in sorted(chance.uniform(1, LATER) for _ in range(3)):
                made.server.clear()
                for manner in chance.choices(some, k=8):
                    made.server.arm(manner, chance.choice(["", "/latest", "/measurements", made.page]), count=1)
                made.poll(hours)
                oracle.check(made.folder)
            made.kept_the_budget()
            made.server.clear()
            assert made.poll(LAST).complete
            found = oracle.check(made.folder, restarted=True)
            assert values(found) == values(made.expected)
    tally(17, "faulty server, random manners between good answers", times(3, 150) * 3)


def values(content: oracle.Content) -> dict[oracle.Place, object]:
    """Return the values of the rows that every run must have: how far back the first look goes is another matter."""
    return {place: row["value"] for place, row in content.items() if place.datetime > START - timedelta(days=2)}


def test_a_redirect_is_not_followed_and_the_key_stays_here(made: Bench, old: Bench, tally: Tally) -> None:
    with faulty(old.simulator.base_url) as other:
        outside = (f"{other.base_url}{made.page}", f"//127.0.0.1:{other.port}/v3", "", "file:///etc/passwd", "::")
        for hours, url in enumerate((*outside, f"/v3{made.page}"), int(LATER)):
            made.server.clear()
            for status in (301, 302, 307, 308):
                made.server.arm(manners.redirect_to(url, status), made.page, count=1)
            assert not made.poll(hours).complete
            assert made.watermarks()[made.target] == made.watermarks_before[made.target]
        assert not other.asked
    assert KEY not in (made.folder / "metrics.json").read_text()
    made.heals()
    tally(17, "faulty server, redirects", 4 * 6)


# --- refusals ---

RESETS = (
    None,
    "0",
    "-1",
    "-2",
    "1",
    "17",
    "3600",
    "86400",
    "1e18",
    "-1e18",
    "NaN",
    "inf",
    "soon",
    "",
    "1, 2",
    "\uff11",
)


def test_after_a_429_nothing_is_asked_before_the_reset_and_no_reset_is_believed_for_ever(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    resets = chance.sample(RESETS, times(5, len(RESETS)))
    for number, reset in enumerate(resets):
        headers = {} if reset is None else {"x-ratelimit-reset": reset.encode().decode("latin-1")}
        with copied(old, tmp_path / str(number)) as made:
            made.server.arm(manners.status(429, **headers), made.page)
            report = made.poll(LATER)
            rejected_whole(made, report)
            stamps = [asked.at for asked in made.server.asked]
            first = next(n for n, asked in enumerate(made.server.asked) if made.page in asked.target)
            least = {"17": 17.0, "3600": 3600.0, "86400": 3600.0, "1e18": 3600.0}.get(reset or "", 1.0)
            assert stamps[first + 1] - stamps[first] >= least, reset
            assert max(made.time.waits) <= MAX_RESET_SECONDS + 60, reset
            assert sum(made.page in asked.target for asked in made.server.asked) == ATTEMPTS
            made.heals()
    tally(15, "faulty server, 429 with each kind of reset", len(resets))


@pytest.mark.parametrize("number", [429, 503])
def test_a_storm_of_refusals_costs_no_more_than_the_budget_and_a_few_tries_each(
    made: Bench, number: int, tally: Tally
) -> None:
    made.server.arm(manners.status(number, x_ratelimit_reset="0", x_ratelimit_remaining="-7"))
    report = made.poll(LATER)
    assert report.failed
    made.kept_the_budget()
    questions = {asked.target for asked in made.server.asked}
    assert len(made.server.asked) <= ATTEMPTS * FALTERING_AFTER + len(questions)
    assert made.watermarks() == made.watermarks_before
    made.heals()
    tally(15 if number == 429 else 16, "faulty server, every answer", 1)


@pytest.mark.parametrize("limit", ["0", "-5", "NaN", "1e400", "3", "1000000"])
def test_what_a_server_says_of_the_limit_never_raises_it_nor_stops_everything(
    made: Bench, limit: str, tally: Tally
) -> None:
    def says(to: Exchange) -> bool:
        return to.reply(to.good()[1], x_ratelimit_limit=limit, x_ratelimit_remaining="1")

    made.server.arm(says)
    assert made.poll(LATER).complete
    made.kept_the_budget()
    if limit == "3":
        stamps = [asked.at for asked in made.server.asked]
        assert all(later - first > 60 for first, later in zip(stamps[1:], stamps[4:], strict=False))
    tally(15, "faulty server, odd limits", 1)


def test_no_status_moves_a_watermark_or_stops_the_neighbours_but_what_needs_a_person(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    statuses = chance.sample(manners.STATUSES, times(5, len(manners.STATUSES)))
    for status in statuses:
        with copied(old, tmp_path / str(status)) as made:
            made.server.arm(manners.status(status), made.page)
            report = made.poll(LATER)
            assert made.watermarks()[made.target] == made.watermarks_before[made.target]
            assert not report.complete
            if status in {403, 410}:
                assert report.needs_a_person
            else:
                rejected_whole(made, report)
            made.heals()
    tally(16, "faulty server, the pages of one sensor", len(statuses))


# --- no connection ---


def unreachable(made: Bench, base_url: str, monkeypatch: pytest.MonkeyPatch) -> RunReport:
    """Poll another address than the server's; return the report, after seeing that it was given up soon."""
    before = oracle.content(made.folder)
    with monkeypatch.context() as patch:
        patch.setattr(made.server, "base_url", base_url)
        report = made.poll(LATER)
    assert report.failed
    assert report.requests <= ATTEMPTS * OUTAGE_AFTER
    assert made.watermarks() == made.watermarks_before
    assert oracle.check(made.folder) == before
    return report


def test_without_a_connection_the_run_gives_up_soon_and_the_next_one_heals(
    old: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = probe.getsockname()[1]
    for number, url in enumerate((f"http://127.0.0.1:{closed}/v3", "http://no-such-host.invalid/v3")):
        with copied(old, tmp_path / str(number)) as made:
            unreachable(made, url, monkeypatch)
            made.heals()
    tally(16, "refused, no such name", 2)


def test_a_certificate_that_has_expired_is_no_connection(
    made: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1)).configure_cert(tls)
    with faulty(made.simulator.base_url, tls=tls) as server:
        report = unreachable(made, f"https://localhost:{server.port}/v3", monkeypatch)
        assert not server.asked, "the key is told to nobody"
    assert "certificate" in str(report.locations[0].error).lower()
    made.heals()
    tally(16, "TLS expired", 1)
