"""Alerts by mail, as plain text and HTML."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses
from html import escape
from typing import Any

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels import wording
from openaq_pipeline.monitoring.channels.deadline import Cutter, cutting
from openaq_pipeline.monitoring.channels.posting import is_loopback
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.monitoring.picture import WIDTH, drawn
from openaq_pipeline.reports import Digest, Notice
from openaq_pipeline.settings import EmailSettings

PICTURE = "week@openaq-pipeline"
"""What the HTML calls the picture of a look back."""

PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class Email:
    """Sends notices by one mail server. `tls` None trusts what the system trusts; names are checked always."""

    def __init__(self, settings: EmailSettings, origin: Origin, *, tls: ssl.SSLContext | None = None) -> None:
        problem = email_problem(settings)
        if problem is not None:
            raise problem
        self._settings, self._origin, self._tls = settings, origin, tls

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Hand a notice to the mail server; raises `DeliveryError`, also if it takes it for some recipients only."""
        mail = message(notice, self._origin, self._settings)
        mail["Date"] = formatdate()
        with (
            cutting(timeout_seconds) as cutter,
            self._explaining(cutter),
            self._session(timeout_seconds, cutter) as smtp,
        ):
            refused = smtp.send_message(mail)
        if refused:
            raise _refused(refused, len(self._settings.to))

    @contextmanager
    def _session(self, timeout_seconds: float, cutter: Cutter) -> Iterator[smtplib.SMTP]:
        """Give a session that is encrypted and logged in as the settings say."""
        settings, tls = self._settings, self._tls or ssl.create_default_context()
        smtp = _connect(settings, timeout_seconds, cutter, tls)
        try:
            if settings.security == "starttls":
                smtp.starttls(context=tls)
            if settings.username:
                smtp.login(settings.username, settings.password.get_secret_value() if settings.password else "")
            yield smtp
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()  # the mail is accepted already
        finally:
            smtp.close()

    @contextmanager
    def _explaining(self, cutter: Cutter) -> Iterator[None]:
        """Turn what smtplib raises into `DeliveryError`. What the server said is left out: it may quote the login."""
        who = f"The mail server {self._settings.host}"
        try:
            yield
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(error.recipients, len(self._settings.to)) from None
        except smtplib.SMTPResponseException as error:
            if cutter.is_cut:  # half a reply
                raise _no_conversation(who, error, out_of_time=True) from None
            raise _answered(who, error) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryError(
                f"{who} does not offer the encryption or login that is set", permanent=True, hint=SECURITY_HINT
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise DeliveryError(
                f"{who} has a certificate that can't be trusted: {error.verify_message}",
                permanent=False,
                hint="Check SMTP_HOST: it must be the name in the certificate.",
            ) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _no_conversation(who, error, out_of_time=cutter.is_cut) from None


SECURITY_HINT = "Check notifications.email.security (starttls, ssl or none) and SMTP_PORT."


def email_problem(settings: EmailSettings) -> DeliveryError | None:
    """Return why no mail can be sent with these settings, None if it can."""
    for wrong, said in (
        (not settings.host, "SMTP_HOST is not set"),
        (not settings.to, "notifications.email.to names nobody"),
        (not _is_address(settings.sender), "notifications.email.from is not a mail address"),
        (not all(map(_is_address, settings.to)), "notifications.email.to holds something that is no mail address"),
        (bool(settings.username) and not _password(settings), "SMTP_USERNAME is set, but SMTP_PASSWORD is not"),
        (bool(_password(settings)) and not settings.username, "SMTP_PASSWORD is set, but SMTP_USERNAME is not"),
        (_is_overheard(settings), "The mail password would go over the network unencrypted"),
    ):
        if wrong:
            return DeliveryError(said, permanent=True, hint="Set it as PIPELINE_README.md says, or turn e-mail off.")
    return None


def _password(settings: EmailSettings) -> str:
    return settings.password.get_secret_value() if settings.password else ""


def _is_overheard(settings: EmailSettings) -> bool:
    return settings.security == "none" and bool(settings.username) and not is_loopback(settings.host)


def _is_address(text: str) -> bool:
    """Say whether a text is one mail address, with or without a name in front; a line break could forge a header."""
    found = getaddresses([text])
    address = found[0][1] if len(found) == 1 else ""
    local, _, domain = address.rpartition("@")
    return text.isprintable() and address.isascii() and bool(local and domain) and not set(" \t<>,") & set(address)


def message(notice: Notice, origin: Origin, settings: EmailSettings) -> EmailMessage:
    """Return the mail of a notice. The same notice has the same Message-ID, so that a second copy can be told."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = wording.headline(notice, origin)
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Message-ID"] = f"<{wording.one_line(notice.id, 100)}@openaq-pipeline>"
    mail["Auto-Submitted"] = "auto-generated"  # keeps holiday replies away
    mail.set_content(text(notice, origin))
    picture = drawn(notice.digest) if notice.digest else b""
    mail.add_alternative(html(notice, origin, pictured=bool(picture)), subtype="html")
    if picture:
        page = mail.get_payload(1)  # the picture belongs to the HTML alone: multipart/related
        if isinstance(page, EmailMessage):
            page.add_related(picture, "image", "png", cid=f"<{PICTURE}>", disposition="inline")
    return mail


def text(notice: Notice, origin: Origin) -> str:
    """Return the plain text of a mail."""
    return f"{wording.headline(notice, origin)}\n\n{wording.plain(notice, origin)}"


def html(notice: Notice, origin: Origin, *, pictured: bool) -> str:
    """Return the HTML of a mail, of a look back with the picture if there is one; whatever it tells is escaped."""
    colour = wording.colour(notice)
    rows = "".join(
        f"<tr><th align='left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in wording.facts(notice, origin)
    )
    hint = wording.hint(notice)
    picture = _picture(notice.digest) if notice.digest and pictured else ""
    week = _week(notice.digest) if notice.digest else ""
    return (
        f"<html><body style='font-family:sans-serif'><div style='border-left:6px solid {colour};padding-left:12px'>"
        f"<h2 style='color:{colour}'>{escape(wording.headline(notice, origin))}</h2>"
        f"<p>{escape(wording.body(notice))}</p>{picture}{week}{f'<p>{escape(hint)}</p>' if hint else ''}"
        f"<table cellpadding='4'>{rows}</table></div></body></html>\n"
    )


def _picture(digest: Digest) -> str:
    """Return the place of the picture of a look back, with words for who does not see it."""
    return (
        f"<p><img src='cid:{PICTURE}' width='{WIDTH}' alt='{escape(wording.alt(digest))}'"
        " style='max-width:100%;height:auto'></p>"
    )


def _week(digest: Digest) -> str:
    """Return the lines of a look back."""
    lines = "\n".join(wording.digest_lines(digest))
    return f"<pre style='font-size:13px'>{escape(lines)}</pre>"


def _connect(settings: EmailSettings, timeout_seconds: float, cutter: Cutter, tls: ssl.SSLContext) -> smtplib.SMTP:
    """Return a greeted session, whose replies are watched by the cutter."""

    class Watched(smtplib.SMTP):
        def getreply(self) -> tuple[int, bytes]:
            if self.sock is not None:
                cutter.watch(self.sock)
            return super().getreply()

    class WatchedTls(Watched, smtplib.SMTP_SSL):
        pass

    port = settings.port or PORTS[settings.security]
    if settings.security == "ssl":
        return WatchedTls(settings.host, port, timeout=timeout_seconds, context=tls)
    return Watched(settings.host, port, timeout=timeout_seconds)


def _answered(who: str, error: smtplib.SMTPResponseException) -> DeliveryError:
    permanent = 500 <= error.smtp_code < 600
    if isinstance(error, smtplib.SMTPAuthenticationError) and permanent:
        return DeliveryError(
            f"{who} refused the login ({error.smtp_code})",
            permanent=True,
            hint="Check SMTP_USERNAME and SMTP_PASSWORD; some services want a password made for this program.",
        )
    hint = (
        "Check the sender and the recipients."
        if permanent
        else "Look at it there; many servers ask to come back later."
    )
    return DeliveryError(f"{who} refused the mail ({error.smtp_code})", permanent=permanent, hint=hint)


def _refused(recipients: dict[str, Any], count: int) -> DeliveryError:
    """Return the error of a mail that some recipients did not get; it is tried again if one of them says `later`."""
    codes = [answer[0] for answer in recipients.values()]
    return DeliveryError(
        f"The mail server refused {len(codes)} of {count} recipients ({', '.join(map(str, sorted(set(codes))))})",
        permanent=all(code >= 500 for code in codes),
        hint="Check notifications.email.to.",
    )


def _no_conversation(who: str, error: Exception, *, out_of_time: bool) -> DeliveryError:
    """Return the error of a server that can't be talked to; what it said is left out here too."""
    if out_of_time or isinstance(error, TimeoutError):
        return DeliveryError(
            f"{who} did not answer in time",
            permanent=False,
            hint="Check whether it works and can be reached from here.",
        )
    said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DeliveryError(f"{who} can't be talked to: {said}", permanent=False, hint=SECURITY_HINT)
