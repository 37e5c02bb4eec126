"""Whether settings are enough to start with: light, for the daemon asks it and never asks OpenAQ."""

from __future__ import annotations

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.openaq.answers import KEY_HINT
from openaq_pipeline.settings import Settings


def check_selection(settings: Settings, *, needs_key: bool = True) -> None:
    """Raise `ConfigError` if there is nothing to do, or no key where it takes one."""
    if not settings.locations and not settings.selections:
        raise ConfigError(
            "No location is selected",
            hint="List location ids or selections under `locations:` in config.yaml, or pass --locations.",
        )
    if needs_key and (settings.api.api_key is None or not settings.api.api_key.get_secret_value()):
        raise ConfigError("OPENAQ_API_KEY is not set", hint=KEY_HINT)
