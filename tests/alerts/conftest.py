"""Servers for the tests of alerts: HTTP receivers, mail servers, and an authority that signs their certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import slack_sdk.webhook  # noqa: F401 - loading it may take longer than the deadlines that are tried
import trustme

from tests.alerts.parts import Answer, Receiver, receiver


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server shows: a certificate for `localhost` only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """What a client has that trusts the authority, and checks names as always."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


Receive = Callable[..., Receiver]


@pytest.fixture
def receive() -> Iterator[Receive]:
    """Start receivers that end with the test."""
    with ExitStack() as stack:

        def start(answer: Answer, tls: ssl.SSLContext | None = None) -> Receiver:
            return stack.enter_context(receiver(answer, tls))

        yield start
