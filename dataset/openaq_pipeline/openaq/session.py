"""Asking OpenAQ: one `requests` session per worker, inside the budget, with deadlines, size cap and retries."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.util import Timeout

from openaq_pipeline.errors import FatalError, ItemMissing, RetriableError, ServerFault, Unreachable
from openaq_pipeline.openaq import deadline
from openaq_pipeline.openaq.answers import Answer, error_of
from openaq_pipeline.openaq.budget import Budget

CONNECT_SECONDS = 5.0
"""As OpenAQ's own SDK has it (OPENAQ section 4.3)."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Decoded. A page of 1,000 measurements has 0.7 MB; anything near this is an attack or a mistake."""

NETWORK_HINT = "Check the network connection, the proxy settings and api.base_url."

NO_CONNECTION = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.SSLError,
)

OUTAGE_AFTER = 3
"""So many questions in a row without any answer, each tried `ATTEMPTS` times: the rest of the run would fare alike."""

FALTERING_AFTER = 6
"""So many questions in a row without a good answer, whatever came in its place: each further one is tried once, until
one is answered. A 500 does not count: it is about its question."""

NO_ANSWER, OTHER = "none", "other"
"""In the place of a status: no whole answer came; or it was one that HTTP does not know."""

KNOWN = frozenset(map(int, HTTPStatus))
"""A server that answers with every number there is must not make a count of each."""

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 30.0
CHUNK_BYTES = 256 * 1024


class Client:
    """Sends GET requests to one base URL with one key; thread-safe, each thread has a session of its own.

    `requests_sent` and `slowest_seconds` (None: no answer yet) tell what the run used, and `requests_by_status` what
    the answers were.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        budget: Budget,
        *,
        timeout_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        checkpoint: Callable[[], None] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = base_url
        self._host = urlsplit(base_url).hostname
        self._api_key = api_key
        self._budget = budget
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._checkpoint = checkpoint
        self._jitter = jitter
        self._local = threading.local()
        self._guard = threading.Lock()
        self.requests_sent = 0
        self.slowest_seconds: float | None = None
        self._answers = Counter[str]()
        self._unreachable_in_a_row = 0
        self._bad_in_a_row = 0
        self._trust: ssl.SSLContext | None = None

    @property
    def requests_by_status(self) -> dict[str, int]:
        """Return how many requests got which HTTP status; `none`: no whole answer came, `other`: no status of HTTP."""
        with self._guard:
            return dict(sorted(self._answers.items()))

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        attempts: int = ATTEMPTS,
        most: int = ATTEMPTS,
    ) -> bytes:
        """Return the JSON body of a good answer.

        Raises `FatalError`, `ItemMissing` or `WindowTooLarge` at once, `ServerFault` after `attempts` tries, and
        `Unreachable` or another `RetriableError`, which say nothing of the question, after `ATTEMPTS`; between them is
        an exponential back-off with jitter. More than `most` tries are made in no case, and only one while OpenAQ
        falters. Whatever `checkpoint` raises (a stop) comes before a request leaves.
        """
        if self._unreachable_in_a_row >= OUTAGE_AFTER:
            raise Unreachable(f"No connection to {self._host}; given up for this run", hint=NETWORK_HINT)
        most = 1 if self._bad_in_a_row >= FALTERING_AFTER else most
        try:
            body = self._get_patiently(path, params, attempts=attempts, most=most)
        except RetriableError as error:
            with self._guard:
                self._unreachable_in_a_row += isinstance(error, Unreachable)
                self._bad_in_a_row += not isinstance(error, ServerFault)
            raise
        except ItemMissing:
            self._bad_in_a_row = 0
            raise
        self._bad_in_a_row = 0
        return body

    def _get_patiently(self, path: str, params: Mapping[str, str | int] | None, *, attempts: int, most: int) -> bytes:
        attempt = 1
        while True:
            try:
                return self._get_once(path, params)
            except RetriableError as error:
                if attempt >= min(most, attempts if isinstance(error, ServerFault) else ATTEMPTS):
                    raise
                wait = self._wait(attempt, error)
            self._sleep(wait)
            attempt += 1

    def _wait(self, attempt: int, error: RetriableError) -> float:
        """Return the back-off after a try: half to all of a span that doubles, or longer if the server says so.

        "Equal jitter" in M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
        """
        span = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0**attempt)
        return max(error.retry_after_seconds or 0.0, span * (0.5 + 0.5 * self._jitter()))

    def _get_once(self, path: str, params: Mapping[str, str | int] | None) -> bytes:
        self._checkpoint()
        self._budget.acquire()
        self._checkpoint()  # the wait for the budget may have been long
        with self._guard:
            self.requests_sent += 1
        try:
            answer = self._fetch(path, params)
        except RetriableError:
            with self._guard:
                self._answers[NO_ANSWER] += 1
            raise
        self._note(answer)
        wait = self._budget.observe(answer.headers, refused=answer.status == 429)
        error = error_of(answer, path)
        if error is None:
            return answer.body
        if isinstance(error, RetriableError) and wait:
            error.retry_after_seconds = wait
        raise error

    def _fetch(self, path: str, params: Mapping[str, str | int] | None) -> Answer:
        """Return whatever the server answers.

        Raises `Unreachable` when no connection came about, another `RetriableError` when no whole answer came in time.
        """
        started = time.monotonic()
        deadline.start(2 * self._timeout_seconds, self._timeout_seconds)
        try:
            with self._session().get(
                self._base_url + path,
                params=params,
                timeout=Timeout(connect=CONNECT_SECONDS, read=self._timeout_seconds),  # type: ignore[arg-type]
                allow_redirects=False,  # a redirect would carry the key to another host
                stream=True,
            ) as response:
                body = self._read(response.raw)
                body = body.replace(self._api_key.encode(), b"(key)")  # it may be quoted in rows, names and rejects
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, headers, body, time.monotonic() - started)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # The exception's own text holds the whole URL: only its kind is safe to show.
            kind = Unreachable if _is_unreachable(error) else RetriableError
            raise kind(f"No whole answer from {self._host}: {_kind(error)}", hint=NETWORK_HINT) from error

    def _read(self, raw: urllib3.BaseHTTPResponse) -> bytes:
        body = bytearray()
        while chunk := raw.read(CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise RetriableError(f"An answer was larger than {MAX_BODY_BYTES} bytes and was dropped")
        return bytes(body)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = deadline.PlainSession()
            session.headers.update({"X-API-Key": self._api_key, "Accept": "application/json", "User-Agent": AGENT})
            # Proxies and certificates are looked up in the environment once, and not again for every request.
            found = session.merge_environment_settings(self._base_url, {}, None, None, None)
            session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False
            adapter = deadline.DeadlineAdapter(
                self._trusting(session.verify), max_retries=0, pool_connections=1, pool_maxsize=1
            )
            session.mount("http://", adapter)
            session.mount("https://", adapter)
        return session

    def _trusting(self, verify: bool | str | None) -> ssl.SSLContext | None:  # noqa: FBT001 - so requests has it
        """Return what the certificates of all sessions are checked with; None: there will be none."""
        with self._guard:
            if self._trust is None and self._base_url.startswith("https:"):
                bundle = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
                self._trust = deadline.trusting(bundle)
            return self._trust

    def _note(self, answer: Answer) -> None:
        """Take in that the server is there, how long it took, and with what it answered."""
        with self._guard:
            self._answers[str(answer.status) if answer.status in KNOWN else OTHER] += 1
            self._unreachable_in_a_row = 0
            self.slowest_seconds = max(answer.elapsed_seconds, self.slowest_seconds or 0.0)


AGENT = "openaq-pipeline/0.1"


def require_key(api_key: str | None) -> str:
    """Return the key without blanks around it; raises `FatalError` for one that no HTTP header can carry.

    Its format is not checked.
    """
    key = (api_key or "").strip()
    if key and key.isascii() and key.isprintable():
        return key
    raise FatalError("OPENAQ_API_KEY holds characters that no HTTP header may hold", hint="Copy the key once more.")


def _is_unreachable(error: BaseException) -> bool:
    """Say whether no connection came about at all; an answer that breaks off says nothing of the other questions."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, NO_CONNECTION):
            return True
        found = found.__cause__ or _reason(found) or found.__context__
    return False


def _kind(error: BaseException) -> str:
    """Return a short reason for people, without any address: what kind of failure is at the bottom of the chain."""
    cause: BaseException = error
    while (inner := cause.__cause__ or _reason(cause) or cause.__context__) is not None:
        cause = inner
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return text if not isinstance(cause, TimeoutError) else f"timed out ({cause})"


def _reason(error: BaseException) -> BaseException | None:
    for candidate in (getattr(error, "reason", None), *error.args):
        if isinstance(candidate, BaseException):
            return candidate
    return None
