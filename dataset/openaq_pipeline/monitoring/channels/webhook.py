"""Alerts as JSON to an address of the user's own.

The body is one object: `id`, `kind` (begun, recovered, digest, test), `key`, `severity`, `title`, `message`, `hint`,
`began`, `ended` (null while it lasts), `provider`, `count` and `members` (of several that are told together: up to 50),
`digest` (null but for that kind), `environment`, `host`. `Idempotency-Key` repeats the id: a notice may come twice.
With a secret set, `X-Signature-256` is `sha256=` and the hexadecimal HMAC-SHA256 of the body's bytes under that secret.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl

import msgspec

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels.deadline import Cutter, cutting
from openaq_pipeline.monitoring.channels.posting import (
    Address,
    Resolve,
    check_status,
    is_public,
    parse,
    resolve,
    unreachable,
)
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.reports import Notice
from openaq_pipeline.settings import WebhookSettings


class Webhook:
    """Sends notices to one receiver. Proxies are not used: they would look the name up unchecked.

    `tls` None trusts what the system trusts.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        origin: Origin,
        *,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = webhook_address(settings)
        self._secret = settings.secret.get_secret_value().encode() if settings.secret else b""
        self._allow_private = settings.allow_private
        self._origin, self._resolve, self._tls = origin, resolve, tls

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Post a notice; raises `DeliveryError`. What the receiver answers is not read beyond its status."""
        body = payload(notice, self._origin)
        address, who = self._address, f"The webhook receiver {self._address.host}"
        with cutting(timeout_seconds) as cutter:
            connection = _connection(address, timeout_seconds, cutter, self._addresses(), self._tls)
            try:
                connection.request("POST", address.target, body=body, headers=self._headers(notice, body))
                status = connection.getresponse().status
                cutter.check()
            except (OSError, http.client.HTTPException) as error:
                raise unreachable(who, error, out_of_time=cutter.is_cut) from None
            finally:
                connection.close()
        check_status(status, who)

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "openaq-pipeline",
            "Idempotency-Key": notice.id,
            "Connection": "close",
        }
        return headers | {"X-Signature-256": signature(self._secret, body)} if self._secret else headers

    def _addresses(self) -> list[str]:
        """Return the receiver's IP addresses, looked up once and checked: the connection goes to these only.

        One inside a private network turns all away: who can name it in the DNS could name any.
        """
        host = self._address.host
        try:
            found = self._resolve(host, self._address.port)
        except (OSError, UnicodeError) as error:
            raise unreachable(f"The webhook receiver {host}", error, out_of_time=False) from None
        if not self._allow_private and not all(map(is_public, found)):
            raise DeliveryError(
                f"The webhook receiver {host} is in a private network",
                permanent=True,
                hint="Set notifications.webhook.allow_private to true if that is meant.",
            )
        return found


def webhook_address(settings: WebhookSettings) -> Address:
    """Return where to post; raises `DeliveryError` for an address that can't be used."""
    if settings.url is None or not settings.url.get_secret_value():
        raise DeliveryError("WEBHOOK_URL is not set", permanent=True, hint="Set it, or turn the webhook off.")
    return parse(settings.url.get_secret_value(), "WEBHOOK_URL", allow_plain=lambda _host: settings.allow_private)


def payload(notice: Notice, origin: Origin) -> bytes:
    """Return the body of a notice."""
    condition = notice.condition
    return msgspec.json.encode(
        {
            "id": notice.id,
            "kind": notice.kind,
            "key": condition.key,
            "severity": condition.severity,
            "title": condition.title,
            "message": condition.message,
            "hint": condition.hint,
            "began": notice.began,
            "ended": notice.ended,
            "provider": condition.provider,
            "count": notice.count,
            "members": notice.members,
            "digest": notice.digest,
            "environment": origin.environment,
            "host": origin.host,
        }
    )


def signature(secret: bytes, body: bytes) -> str:
    """Return the value of `X-Signature-256`."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _connection(
    address: Address, timeout_seconds: float, cutter: Cutter, found: list[str], tls: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """Return a connection that will go to one of the `found` addresses, whatever the name means by then."""
    if address.secure:
        return _Secure(address, timeout_seconds, cutter, found, tls or ssl.create_default_context())
    return _Plain(address, timeout_seconds, cutter, found)


class _Plain(http.client.HTTPConnection):
    def __init__(self, address: Address, timeout_seconds: float, cutter: Cutter, found: list[str]) -> None:
        super().__init__(address.host, address.port, timeout=timeout_seconds)
        self._cutter, self._found, self._seconds = cutter, found, timeout_seconds

    def connect(self) -> None:
        self.sock = _dial(self._found, self.port, self._seconds, self._cutter)


class _Secure(_Plain):
    def __init__(
        self, address: Address, timeout_seconds: float, cutter: Cutter, found: list[str], tls: ssl.SSLContext
    ) -> None:
        super().__init__(address, timeout_seconds, cutter, found)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
        self._cutter.watch(self.sock)


def _dial(found: list[str], port: int, seconds: float, cutter: Cutter) -> socket.socket:
    """Return a socket to the first address that answers; raises the `OSError` of the last."""
    problem = OSError("the name has no address")
    for ip in found:
        try:
            connection = socket.create_connection((ip, port), timeout=seconds / len(found))
        except OSError as error:
            problem = error
            continue
        connection.settimeout(seconds)
        cutter.watch(connection)
        return connection
    raise problem
