"""Back up, restore and upgrade in Docker Compose, by the manual's own lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backup.archives import content
from tests.containers.engine import Engine, until
from tests.containers.project import Project, project, require_compose
from tests.containers.test_compose import KEY, SIMULATOR
from tests.documents import blocks

BACK_UP, RESTORE = blocks("Upgrade and backup")


@pytest.fixture(scope="module")
def installation(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One that has polled."""
    require_compose()
    assert image
    folder = tmp_path_factory.mktemp("backup") / "backup-compose"
    with project(engine, folder, OPENAQ_API_KEY=KEY, OPENAQ_BASE_URL=SIMULATOR) as made:
        made.run("docker compose up -d --build simulator data-pipeline")
        made.has_read_all()
        yield made


def test_a_backup_of_the_running_service_is_restored_into_a_fresh_volume_which_goes_on(
    installation: Project, engine: Engine
) -> None:
    installation.run(BACK_UP)
    held = installation.rows()
    archive = (installation.folder / "backup.tar.gz").read_bytes()
    assert "location_3459.json" in content(archive)
    assert KEY.encode() not in archive
    taken = installation.shell(RESTORE.splitlines()[0])
    assert taken.code == 3, "the service is at work there"
    fresh = f"{installation.volume}-fresh"
    try:
        installation.env["DATA_VOLUME"] = fresh
        installation.run("docker compose rm --stop --force data-pipeline")
        installation.run(RESTORE)
        service = installation.container("data-pipeline")
        until(lambda: "The next run is due" in service.log, "it goes on from the last run", lambda: service.log[-3000:])
        assert installation.rows() == held
        assert "all well" in installation.run("docker compose exec -T data-pipeline openaq-pipeline verify")
    finally:
        installation.clean_up()
        engine.call("volume", "rm", "--force", fresh)
