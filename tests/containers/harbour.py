"""Containers of ours beside a simulator of OpenAQ, on a network of their own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.conftest import NO_LIMIT, ROOT
from tests.containers.engine import Container, Done, Engine, until
from tests.faults import oracle

BY_THE_MANUAL = (
    *("--init", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108 - a disk of the container's own
    *("--security-opt", "no-new-privileges", "--pids-limit", "200", "--memory", "1g"),
)
"""What a container needs no more than, and so runs with here."""

OFTEN = ("--health-interval", "2s", "--health-timeout", "60s")
"""Else nobody would know within a minute how it is."""

READ_DAYS = 30
"""What `data.initial_days` is. The simulator's clock stands still, so that the newest row is always the same."""

KEY = "a-key-of-the-tests"
SIMULATOR_PORT = 8900


class Harbour:
    """Starts containers and ends them. The simulator's clock stands still: whoever reads it gets the same."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine, self.image = engine, image
        self.name = f"openaq-pipeline-test-{secrets.token_hex(4)}"
        self.base_url = f"http://{self.name}-c0:{SIMULATOR_PORT}/v3"
        self._containers: list[str] = []
        self._volumes: list[str] = []

    def open(self) -> None:
        """Make the network, and start the simulator on it."""
        self.engine("network", "create", self.name)
        began = datetime.now(UTC) - timedelta(hours=1)
        command = f"openaq-pipeline simulator --host 0.0.0.0 --requests-per-minute 0 --speed 0 --start {began:%FT%TZ}"
        self.simulator = self.start(command.split(), options=["--no-healthcheck"])
        self.simulator.logs("/v3")

    def close(self) -> None:
        """Leave nothing behind."""
        if self._containers:
            self.engine.call("rm", "--force", "--volumes", *self._containers)
        if self._volumes:
            self.engine.call("volume", "rm", "--force", *self._volumes)
        self.engine.call("network", "rm", self.name)

    def wide(self, folder: Path, requests_per_minute: int = NO_LIMIT) -> list[str]:
        """Write the image's own settings, but for the limits of the key, to a folder; return the options to use them.

        A second run within the same minute would else wait for the next one.
        """
        settings = yaml.safe_load((ROOT / "config.yaml").read_text())
        settings["api"] |= {"requests_per_minute": requests_per_minute, "requests_per_hour": NO_LIMIT}
        (folder / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
        folder.chmod(0o755)  # for the user that the program is
        return ["--volume", f"{folder}:/config:ro", "--env", "PIPELINE_CONFIG=/config/config.yaml"]

    def volume(self) -> str:
        """Make an empty volume and return its name."""
        name = f"{self.name}-{len(self._volumes)}"
        self._volumes.append(self.engine("volume", "create", name))
        return name

    def start(
        self, command: Sequence[str] = (), *, volume: str = "", image: str = "", options: Sequence[str] = ()
    ) -> Container:
        """Start a container on a volume (an empty one of its own), with the image's command or another."""
        name = f"{self.name}-c{len(self._containers)}"
        self._containers.append(name)
        self.engine("run", "--detach", "--name", name, *self._options(volume), *options, image or self.image, *command)
        return Container(self.engine, name)

    def run(
        self, command: Sequence[str] = (), *, volume: str = "", image: str = "", options: Sequence[str] = ()
    ) -> Done:
        """Run a container to its end, which is also its own."""
        return self.engine.call("run", "--rm", *self._options(volume), *options, image or self.image, *command)

    def _options(self, volume: str) -> list[str]:
        mounted = ["--volume", f"{volume}:/data"] if volume else []
        env = ["--env", f"OPENAQ_API_KEY={KEY}", "--env", f"OPENAQ_BASE_URL={self.base_url}"]
        return [*BY_THE_MANUAL, "--network", self.name, *env, *mounted]

    def copied(self, container: Container, folder: Path) -> Path:
        """Copy the data of a container to a folder and return it."""
        folder.mkdir()
        self.engine("cp", f"{container.name}:/data/.", str(folder))
        return folder

    def kill_hard(self, container: Container) -> None:
        """Send SIGKILL to a container's first process as the kernel does: `docker kill` would be a wish of the user's.

        After such a wish no restart policy applies.
        """
        pid = container.state["Pid"]
        kill = ["python", "-c", f"import os; os.kill({pid}, 9)"]
        self.engine("run", "--rm", "--pid", "host", "--user", "0", self.image, *kill)

    def restarted(self, container: Container, times: int) -> None:
        """Wait until the engine has started a container again so many times."""
        until(
            lambda: self.engine.inspect(container.name)["RestartCount"] == times and container.state["Running"],
            f"{container.name} runs for the {times + 1}. time",
            lambda: str(container.state),
        )


def lasting(content: oracle.Content) -> oracle.Content:
    """Return the rows but for those of the oldest day, which depend on the minute in which a first run began."""
    since = max(place.datetime for place in content) - timedelta(days=READ_DAYS - 1)
    return {place: row for place, row in content.items() if place.datetime > since}


@contextmanager
def harbour(engine: Engine, image: str) -> Iterator[Harbour]:
    """Give a harbour that leaves nothing behind."""
    made = Harbour(engine, image)
    try:
        made.open()
        yield made
    finally:
        made.close()
