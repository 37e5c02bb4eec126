"""Azure as the machine sees it: the address that gives tokens, a key vault, a store of blobs, and where a release lies.

Python's own library alone, so that it runs in a container too: fakes.py FOLDER CERTIFICATE serves
FOLDER/release.tar.gz and Azure by TLS at port 443, and tokens at port 80 of 169.254.169.254, until it is ended. All
requests are written to FOLDER/requests.log, without their bodies.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "the-key-from-the-vault"


class Azure:
    """What it holds, and what it does wrong."""

    def __init__(self, log: Path | None = None) -> None:
        self.refusals = 0
        """So many requests for the key are still answered 403, as long as a role does not hold yet."""
        self.failures = 0
        """So many requests of the store are still answered 500."""
        self.blobs: dict[str, bytes] = {}
        self.blocks: dict[tuple[str, str], bytes] = {}
        self.requests: list[str] = []
        self.release = b""
        self.cut_short = False
        self._log, self._lock = log, threading.Lock()

    def seen(self, line: str) -> None:
        with self._lock:
            self.requests.append(line)
            if self._log:
                with self._log.open("a") as file:
                    file.write(f"{line}\n")

    def fails(self, name: str) -> bool:
        with self._lock:
            left: int = getattr(self, name)
            setattr(self, name, max(0, left - 1))
        return left > 0


class Handler(BaseHTTPRequestHandler):
    azure: Azure
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Not to stderr: `Azure.seen` has it."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.azure.seen(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, answer = self._found(parts.path, asked, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer) + (9 if self.azure.cut_short else 0)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection |= self.azure.cut_short

    def _found(self, path: str, asked: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/metadata/identity/oauth2/token":
            return self._token(asked)
        if path == "/release.tar.gz":
            return 200, self.azure.release
        if path.startswith("/secrets/"):
            return self._secret(asked)
        return self._store(path, asked, body)

    def _token(self, asked: dict[str, str]) -> tuple[int, bytes]:
        if self.headers["Metadata"] != "true" or asked["api-version"] != "2018-02-01":
            return 400, b"{}"
        return 200, json.dumps({"access_token": f"token for {asked['resource']}", "expires_in": "86399"}).encode()

    def _secret(self, asked: dict[str, str]) -> tuple[int, bytes]:
        if self.headers["Authorization"] != "Bearer token for https://vault.azure.net":
            return 401, b"{}"
        if asked.get("api-version") != "7.4" or self.azure.fails("refusals"):
            return 403, json.dumps({"error": {"code": "Forbidden", "message": "no role yet"}}).encode()
        return 200, json.dumps({"value": KEY, "id": "https://v/secrets/k/1", "attributes": {"enabled": True}}).encode()

    def _store(self, path: str, asked: dict[str, str], body: bytes) -> tuple[int, bytes]:
        is_known = self.headers["Authorization"] == "Bearer token for https://storage.azure.com/"
        if not is_known or not self.headers["x-ms-version"] or self.azure.fails("failures"):
            return 500 if is_known else 401, b""
        match self.command, asked.get("comp"):
            case "PUT", "block":
                self.azure.blocks[path, asked["blockid"]] = body
                return 201, b""
            case "PUT", "blocklist":
                names = [part.partition("</Latest>")[0] for part in body.decode().split("<Latest>")[1:]]
                self.azure.blobs[path] = b"".join(self.azure.blocks[path, name] for name in names)
                return 201, b""
            case "GET", "list":
                found = (f"<Blob><Name>{name.rpartition('/')[2]}</Name></Blob>" for name in self.azure.blobs)
                return 200, f"<EnumerationResults><Blobs>{''.join(found)}</Blobs></EnumerationResults>".encode()
            case "GET", None if path in self.azure.blobs:
                return 200, self.azure.blobs[path]
        return 404, b""


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away: who was refused need not read the rest."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serving(azure: Azure, host: str, port: int, certificate: Path | None = None) -> ThreadingHTTPServer:
    """Serve from another thread until `shutdown`; port 0 takes a free one."""
    server = Server((host, port), type("Of", (Handler,), {"azure": azure}))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def main(folder: Path, certificate: Path) -> None:
    azure = Azure(folder / "requests.log")
    azure.release = (folder / "release.tar.gz").read_bytes()
    azure.refusals = 2
    serving(azure, "169.254.169.254", 80)
    serving(azure, "127.0.0.1", 443, certificate)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
