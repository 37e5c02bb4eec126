"""What must never be read in what this program tells: secrets, and characters that forge or hide lines.

All that is told passes through `clean`: each error when it is made (and so reports, the state, metrics and alerts that
quote it), each log record when it is rendered, each text that is printed past the log, each notice before it is sent.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

MASK = "(secret)"

SHORTEST_SECRET = 4
"""To hide shorter ones would garble every text and protect nothing: they are guessed at once."""

SHORTEST_PART = 12
"""So long must a piece of an address be to be hidden by itself: `services` or `v1` is no secret, a token is long."""

SHORTEST_TOKEN = 6
"""So long must be what stands where a host would stand, and is none: it has no dot."""

SHORTEST_ENCODED = 6
"""Shorter pieces of base64 appear in innocent text by chance."""

NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, further line ends, and the marks that turn the direction of writing."""

NOT_SHOWN_BUT_LINE_ENDS = re.compile(r"(?!\n)" + NOT_SHOWN.pattern)


class Redactor:
    """Replaces every form of every secret in a text by `(secret)`. Without secrets it changes nothing."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in forms_of(secret) if len(form) >= SHORTEST_SECRET}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text


_secrets: set[str] = set()
_redactor = Redactor()


def hide(secrets: Iterable[str]) -> None:
    """Let none of these appear in anything that is told from now on.

    Those of before stay hidden too: a run under way may still use them after a reload.
    """
    global _redactor  # noqa: PLW0603 - one process, one set of secrets, and exceptions have no other way to it
    _secrets.update(secrets)
    _redactor = Redactor(_secrets)


def clean(text: str) -> str:
    """Return a text without any secret that is hidden and without control characters but line ends."""
    return many_lines(_redactor(text))


def one_line(text: str) -> str:
    """Return a text as one line that moves no cursor: a line end in it would look like another record (CWE-117)."""
    return NOT_SHOWN.sub(" ", text)


def many_lines(text: str) -> str:
    """Return a text whose lines stay apart, such as a traceback, without any other control character."""
    return NOT_SHOWN_BUT_LINE_ENDS.sub(" ", text.replace("\r\n", "\n"))


def forms_of(secret: str) -> Iterator[str]:
    """Yield how a secret may appear: plain, escaped, URL-encoded, in base64, and the telling parts of an address."""
    for part in (secret, *_address_parts(secret)):
        yield from _written(part)
        yield from _in_base64(part)


def _written(secret: str) -> Iterator[str]:
    yield secret
    yield unquote(secret)
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]


def _in_base64(secret: str) -> Iterator[str]:
    """Yield what a secret looks like inside base64, where three bytes make four letters, at each of three offsets.

    So it is found behind a user's name too, as in `Authorization: Basic`.
    """
    body = secret.encode(errors="surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(body).decode()
        if len(whole) >= SHORTEST_ENCODED:
            yield whole
        for offset in range(3):
            letters = encode(b"\0" * offset + body).decode().rstrip("=")
            first = (0, 2, 3)[offset]  # letters that share bits with what stands in front
            last = len(letters) if (offset + len(body)) % 3 == 0 else -1  # and with what follows
            if len(inner := letters[first:last]) >= SHORTEST_ENCODED:
                yield inner


def _address_parts(secret: str) -> Iterator[str]:
    """Yield of an address everything but its host: exceptions of HTTP libraries quote path and query alone."""
    if "://" not in secret:
        yield from re.findall(r"\bpassword\s*=\s*'?([^\s']+)", secret)  # host=… password=…, as PostgreSQL takes it too
        return
    try:
        parts = urlsplit(secret)
        user, password = parts.username, parts.password
    except ValueError:
        return
    if parts.scheme in {"postgres", "postgresql"}:  # a user or a database may be called postgres, and is no secret
        yield from filter(None, (password, *parse_qs(parts.query).get("password", [])))
        return
    if parts.scheme not in {"http", "https"}:  # Apprise: where others have a host there may be a token
        place = parts.netloc.rpartition("@")[2]
        yield from (
            piece
            for piece in place.split(":")
            if len(piece) >= SHORTEST_TOKEN and piece != "localhost" and "." not in piece
        )
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    yield from filter(None, (target, parts.path, parts.query, parts.fragment, user, password))
    for piece in re.split(r"[/?&=;]", f"{target}#{parts.fragment}".replace("#", "/")):
        if len(piece) >= SHORTEST_PART:
            yield piece
