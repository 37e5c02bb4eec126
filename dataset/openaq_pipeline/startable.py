"""Whether settings are enough to start with: light, for the daemon asks it and never asks OpenAQ."""

from __future__ import annotations

from openaq_pipeline import installed
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.openaq.answers import KEY_HINT
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage import sealed


def check_selection(settings: Settings, *, needs_key: bool = True) -> None:
    """Raise `ConfigError` if there is nothing to do, or not what it takes: a key where it is wanted, the packages."""
    if not settings.locations and not settings.selections:
        begin = (
            "Run `openaq-pipeline init` to begin with a config.yaml, then list" if not settings.config_path else "List"
        )
        raise ConfigError(
            "No location is selected",
            hint=f"{begin} location ids or selections under `locations:` in config.yaml, or pass --locations.",
        )
    check_installed(settings)
    if needs_key and (settings.api.api_key is None or not settings.api.api_key.get_secret_value()):
        raise ConfigError("OPENAQ_API_KEY is not set", hint=KEY_HINT)


def check_installed(settings: Settings) -> None:
    """Raise `ConfigError` if the settings, or the data folder as it is, take what is not installed."""
    if settings.storage.postgres.enabled:
        installed.need(installed.POSTGRES, why="storage.postgres is enabled")
    if sealed.has_history(settings.data_dir):
        installed.need(installed.HISTORY, why=f"{settings.data_dir} has rows in history/")
