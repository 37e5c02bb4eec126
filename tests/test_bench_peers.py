"""What the comparison with others rests on: requests are counted, and a row that is missing or double is seen."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.peers.__main__ import compared, polled
from benchmarks.peers.clients import Client, Ours, Peer, since_of
from benchmarks.peers.worlds import World

START = datetime(2026, 3, 18, 12, 20, tzinfo=UTC)
WORLD = World(locations=2, sensors=2, days=3, late_share=0.2)


def test_a_client_that_reads_all_misses_nothing_and_what_it_loses_or_doubles_is_counted(tmp_path: Path) -> None:
    python, since = Path(sys.executable), since_of(START, WORLD)
    peer = Peer("plain", python=python)
    clients: list[Client] = [peer, Ours(python=python)]
    with WORLD.served(START) as server:
        for client in clients:
            folder = tmp_path / client.name
            client.prepare(folder, server.base_url, WORLD, since)
            first = polled(client, folder, server, START, WORLD.keys(START, since, START))
            assert (first.missing, first.twice) == (0, 0)
            assert first.requests == (4 if client is peer else 7)  # two locations and their licence
            assert first.cost.written_mb > 0.01
        later = START + timedelta(hours=4)
        wanted = WORLD.keys(START, since, later)
        assert len(wanted) > len(WORLD.keys(START, since, START))
    rows = json.loads((tmp_path / "plain" / "measurements.json").read_text())
    (tmp_path / "plain" / "measurements.json").write_text(json.dumps([*rows[3:], rows[-1]]))
    unseen = len(wanted) - len(rows)
    assert compared(peer.keys(tmp_path / "plain"), wanted) == (unseen + 3, 1)
