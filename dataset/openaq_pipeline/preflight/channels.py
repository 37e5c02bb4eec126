"""Whether anybody is told when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

from openaq_pipeline.monitoring.channels import problems, receivers
from openaq_pipeline.preflight.checks import Finding
from openaq_pipeline.settings import Settings

NOBODY_HINT = "Set notifications.enabled and a channel in config.yaml, or look at monitor.py yourself."


def channels(settings: Settings) -> Iterator[Finding]:
    """See whether alerts would reach somebody."""
    chosen = receivers(settings.notifications)
    if not chosen:
        yield Finding("warning", "nobody is told when something goes wrong: no channel is switched on", NOBODY_HINT)
        return
    wrong = problems(settings.notifications)
    for channel, problem in wrong.items():
        yield Finding("failed", f"{channel}: {problem}")
    if usable := [name for name in chosen if name not in wrong]:
        yield Finding("ok", f"{', '.join(usable)} set up; monitor.py --test-alert sends a real one")
