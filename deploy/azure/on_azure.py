#!/usr/bin/python3
"""What the machine asks of Azure: the OpenAQ key at its start, and a place for backups. Python's own library alone.

    on_azure.py key FILE         write the key from the key vault (KEY_URL) into a file; tries until it has it
    on_azure.py backup           make a backup and store it as today's (BACKUP_URL)
    on_azure.py list             name the backups there are
    on_azure.py fetch NAME       write a backup to stdout: … | openaq-pipeline restore -

Azure knows the machine by its managed identity: a token from an address that only the machine itself reaches. Tokens
and key are in no argument and in nothing that is printed.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

IDENTITY_URL = "http://169.254.169.254/metadata/identity/oauth2/token"
VAULT = "https://vault.azure.net"
STORAGE = "https://storage.azure.com/"
PIPELINE = "/opt/openaq-pipeline/bin/openaq-pipeline"

TIMEOUT_SECONDS = 60.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
TRIES = 6
"""With the pauses between them half a minute: what does not get better in that time is left to the next day."""

BLOCK_BYTES = 32 * 1024 * 1024
"""Azure takes 50,000 blocks: 1.6 TB."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class NotNow(Exception):
    """Azure did not answer, or not with what was asked for; the sentence says what it did, and shows no secret."""


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code: 0, 1 if Azure would not, 2 if they say nothing known."""
    try:
        match arguments:
            case ["key", file]:
                write_key(Path(file), os.environ["KEY_URL"])
            case ["backup"]:
                store_backup(os.environ["BACKUP_URL"], datetime.now(UTC))
            case ["list"]:
                print("\n".join(backups(os.environ["BACKUP_URL"])))
            case ["fetch", name]:
                fetch(os.environ["BACKUP_URL"], name, sys.stdout.buffer)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except NotNow as reason:
        print(f"{reason}.", file=sys.stderr)
        return 1
    return 0


# --- the key ---


def write_key(file: Path, url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write the vault's secret into a file that only this user may read; what goes wrong is told when it changes.

    It never gives up: a role takes minutes to hold after it was given, and a network comes when it comes.
    """
    pause, told = FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            key = secret(url)
        except NotNow as reason:
            if str(reason) != told:
                print(f"{reason}. It is tried again.", file=sys.stderr)
            told = str(reason)
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            break
    beside = file.with_name(f".{file.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(key)
    beside.replace(file)


def secret(url: str) -> str:
    """Return the newest value of a secret of the key vault, which `url` names without a version."""
    answer = ask("GET", f"{url}?api-version=7.4", {"Authorization": f"Bearer {token(VAULT)}"})
    return text_in(answer, "value", url)


def token(resource: str) -> str:
    """Return a token for one of Azure's services, by the machine's identity."""
    asked = urlencode({"api-version": "2018-02-01", "resource": resource})
    return text_in(ask("GET", f"{IDENTITY_URL}?{asked}", {"Metadata": "true"}), "access_token", IDENTITY_URL)


def text_in(answer: bytes, name: str, url: str) -> str:
    """Return a text out of a JSON object."""
    try:
        found = json.loads(answer)[name]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str) or not found:
        raise NotNow(f"{urlsplit(url).hostname} answered without a {name}")
    return found


# --- the backups ---


def store_backup(url: str, now: datetime) -> None:
    """Store what `openaq-pipeline backup` writes as the backup of today, whole or not at all; nothing is kept here."""
    to = f"{url}/openaq-pipeline-{now:%Y-%m-%d}.tar.gz"
    blocks: list[str] = []
    with subprocess.Popen([PIPELINE, "backup", "--output", "-"], stdout=subprocess.PIPE) as process:  # noqa: S603
        if process.stdout is None:
            raise AssertionError
        try:
            while body := process.stdout.read(BLOCK_BYTES):
                blocks.append(base64.b64encode(b"%06d" % len(blocks)).decode())
                patiently("PUT", f"{to}?{urlencode({'comp': 'block', 'blockid': blocks[-1]})}", body)
        except NotNow:
            process.kill()
            raise
    if process.returncode:
        raise NotNow(f"The backup ended with exit code {process.returncode}: nothing was stored")
    listed = "".join(f"<Latest>{block}</Latest>" for block in blocks)
    patiently("PUT", f"{to}?comp=blocklist", f"<BlockList>{listed}</BlockList>".encode())
    print(f"Stored {to.rpartition('/')[2]}")


def backups(url: str) -> list[str]:
    """Return the names of the backups, the oldest first."""
    # What Azure Storage answers itself, over TLS.
    tree = ET.fromstring(patiently("GET", f"{url}?restype=container&comp=list"))  # noqa: S314
    return sorted(element.text for element in tree.iterfind("Blobs/Blob/Name") if element.text)


def fetch(url: str, name: str, to: IO[bytes]) -> None:
    """Write a backup to an open file."""
    headers = {"Authorization": f"Bearer {token(STORAGE)}", **of_storage()}
    with_length = 0
    connection, answer = opened("GET", f"{url}/{quote(name)}", headers, None)
    try:
        expected = int(answer.headers.get("Content-Length") or -1)
        while body := answer.read(1024 * 1024):
            with_length += len(body)
            to.write(body)
        to.flush()
    except (OSError, http.client.HTTPException) as error:
        raise NotNow(f"{name} did not come whole: {type(error).__name__}") from None
    finally:
        connection.close()
    if with_length != expected:
        raise NotNow(f"{name} did not come whole")


def patiently(
    method: str, url: str, body: bytes | None = None, *, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Return what the storage answers, after a few tries if need be."""
    for number in range(TRIES):
        try:
            return ask(method, url, {"Authorization": f"Bearer {token(STORAGE)}", **of_storage()}, body)
        except NotNow:
            if number == TRIES - 1:
                raise
            sleep(min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS))
    raise AssertionError


def of_storage() -> dict[str, str]:
    """Return the headers that Azure Storage wants with each request."""
    return {"x-ms-version": "2021-12-02", "x-ms-date": formatdate(usegmt=True)}


# --- HTTP: no proxies, no redirects ---


def ask(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """Return the body of a good answer."""
    connection, answer = opened(method, url, headers, body)
    try:
        return answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NotNow(f"{urlsplit(url).hostname} did not answer to the end: {type(error).__name__}") from None
    finally:
        connection.close()


def opened(
    method: str, url: str, headers: dict[str, str], body: bytes | None
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Return a good answer, still to be read, and its connection, to be closed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise NotNow(f"{parts.hostname} does not answer: {type(error).__name__}") from None
    if answer.status not in {200, 201}:
        connection.close()
        raise NotNow(f"{parts.hostname} answered {answer.status} to {method} {parts.path}")
    return connection, answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
