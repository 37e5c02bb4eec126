"""Alerts to any service that Apprise knows, one address at a time.

Apprise and the code of a service are loaded when the first notice is sent, in the process that sends: 40 MB and half a
second. What it would log is not heard, because addresses stand in it, and of an answer only yes or no is known.
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

from openaq_pipeline import installed
from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels import wording
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.monitoring.picture import drawn
from openaq_pipeline.reports import Notice, Receiver

if TYPE_CHECKING:
    from apprise import NotifyBase

SHARE = 0.45
"""Of the time for a try: so long a service may take to connect, and as long for its answer."""

_loading = threading.Lock()
"""Warnings are switched off for the whole process, and so by one thread at a time."""

TYPES = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


class AppriseAddress:
    """Sends notices to one address, which is a secret as a whole: it is called by its number alone."""

    def __init__(self, receiver: Receiver, address: str, origin: Origin) -> None:
        if not address:
            raise DeliveryError(
                "APPRISE_URLS is not set", permanent=True, hint="Set it, or turn notifications.apprise off."
            )
        installed.need(installed.APPRISE)
        self._receiver, self._address, self._origin = receiver, address, origin

    def check(self) -> None:
        """Raise `DeliveryError` if the address is none that Apprise understands; asks no server."""
        self._service()

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Hand a notice to the service; raises `DeliveryError`. What hangs is left behind when the time is up."""
        service = self._service()
        service.socket_connect_timeout = service.socket_read_timeout = timeout_seconds * SHARE
        done: list[bool] = []
        picture = drawn(notice.digest) if notice.digest else None
        said = {
            "title": wording.headline(notice, self._origin),
            "body": wording.plain(notice, self._origin),
            "type": "success" if notice.kind == "recovered" else TYPES[notice.condition.severity],
        }
        thread = threading.Thread(
            target=lambda: done.append(_notify(service, said, picture)), name="apprise", daemon=True
        )
        thread.start()
        thread.join(timeout_seconds)
        if not done:
            raise DeliveryError(
                f"The service of {self._receiver} did not answer in time",
                permanent=False,
                hint="Check whether it works and can be reached from here.",
            )
        if not done[0]:
            raise DeliveryError(
                f"The service of {self._receiver} did not take it, or can't be reached",
                permanent=False,
                hint="Check this address in APPRISE_URLS, and the service.",
            )

    def _service(self) -> NotifyBase:
        """Return what talks to the service."""
        with _loading, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its libraries still use is not our users' business
            service = _made(self._address)
        if service is None:
            raise DeliveryError(
                f"The address of {self._receiver} is none that Apprise understands",
                permanent=True,
                hint="Its number is its place in APPRISE_URLS; see https://appriseit.com/services/.",
            )
        return service


def _made(address: str) -> NotifyBase | None:
    """Return what talks to a service; None: the address is none."""
    logging.getLogger("apprise").disabled = True  # before it is loaded, which it tells of too
    from apprise import Apprise, AppriseAsset, PersistentStoreMode  # noqa: PLC0415 - see above

    # Nothing is kept on disk, and no redirect followed: it would carry the secret elsewhere.
    asset = AppriseAsset(app_id="openaq-pipeline", storage_mode=PersistentStoreMode.MEMORY, http_redirects=False)
    return Apprise.instantiate(address, asset=asset)


def _notify(service: NotifyBase, said: dict[str, str], picture: bytes | None) -> bool:
    """Send, and say whether it was taken; what a service's code raises is a no, and its text may be secret."""
    from apprise import Apprise  # noqa: PLC0415
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415

    told: Any = Apprise(asset=service.asset)
    told.add(service)
    # A service that takes no attachments goes without.
    attached = [AttachMemory(content=picture, name="week.png", mimetype="image/png")] if picture else None  # type: ignore[no-untyped-call]
    try:
        return bool(
            told.notify(
                title=said["title"], body=said["body"], notify_type=said["type"], body_format="text", attach=attached
            )
        )
    except Exception:  # noqa: BLE001
        return False
