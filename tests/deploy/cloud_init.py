"""What main.bicep makes of cloud-init.yaml."""

from __future__ import annotations

from typing import NamedTuple

from tests.conftest import ROOT


class Told(NamedTuple):
    """What main.bicep puts into it, under the names that stand there between @."""

    LOCATIONS: str
    SOURCE_URL: str
    SOURCE_SHA256: str
    KEY_URL: str
    BACKUP_URL: str

    def cloud_init(self) -> str:
        text = (ROOT / "deploy/azure/cloud-init.yaml").read_text()
        for name, value in self._asdict().items():
            text = text.replace(f"@{name}@", value)
        return text
