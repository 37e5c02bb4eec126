"""The manners of a faulty server: how an answer can be cut, dripped, puffed up, swapped or made up.

`REJECTED` are answers of which nothing may be stored, by name; `LIMITS` are words about the request budget. Hostile
values inside a well-formed page are in tests/faults/test_values.py.
"""

from __future__ import annotations

import gzip
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat

from tests.faults.faulty import Exchange, Manner

MEGABYTE = 1_000_000
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def head(length: int) -> bytes:
    return JSON_HEAD + f"Content-Length: {length}\r\n\r\n".encode()


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


# --- the wire ---


def cut(to: Exchange) -> bool:
    body = to.good()[1]
    to.send(head(len(body)) + body[: len(body) // 2])
    return False


def cut_without_length(to: Exchange) -> bool:
    body = to.good()[1]
    to.send(JSON_HEAD + b"Connection: close\r\n\r\n" + body[: len(body) // 2])
    return False


def cut_after_a_row(to: Exchange) -> bool:
    """End where a careless reader of lines could take it for a whole answer."""
    body = to.good()[1]
    to.send(JSON_HEAD + b"Connection: close\r\n\r\n" + body[: body.rindex(b",{") if b",{" in body else -2])
    return False


def cut_between_chunks(to: Exchange) -> bool:
    body = to.good()[1]
    to.send(CHUNKED + chunk(body[: len(body) // 2]))
    return False


def without_last_chunk(to: Exchange) -> bool:
    to.send(CHUNKED + chunk(to.good()[1]))
    return False


def wrong_chunk_size(to: Exchange) -> bool:
    to.send(CHUNKED + b"zz\r\n" + to.good()[1] + b"\r\n0\r\n\r\n")
    return False


def too_short_a_length(to: Exchange) -> bool:
    """Leave half of the answer in the connection, for the next answer to begin with."""
    body = to.good()[1]
    to.send(head(len(body) // 2) + body)
    return True


def reset(to: Exchange) -> bool:
    body = to.good()[1]
    to.send(head(len(body)) + body[: len(body) // 2])
    to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang_up(_to: Exchange) -> bool:
    return False


def silence(to: Exchange) -> bool:
    to.wait_until_left()
    return False


def silence_in_the_body(to: Exchange) -> bool:
    body = to.good()[1]
    to.send(head(len(body)) + body[:-1])
    to.wait_until_left()
    return False


def drip(to: Exchange) -> bool:
    body = to.good()[1]
    with suppress(OSError):
        to.send(head(len(body)), *(body[n : n + 1] for n in range(200)), pause=0.05)
    return False


def drip_of_headers(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(*(bytes([byte]) for byte in head(10)), pause=0.05)
    return False


def continue_for_ever(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, pause=0.05)
    return False


def no_http(to: Exchange) -> bool:
    to.send(b"220 smtp.example.org ESMTP\r\n")
    return False


def headers_without_end(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(JSON_HEAD, then=(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(100_000)))
    return False


def one_endless_header(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(JSON_HEAD + b"X: ", then=repeat(b"x" * 65536, 1000))
    return False


# --- the coding ---


def bad_gzip(to: Exchange) -> bool:
    return to.reply(to.good()[1], Content_Encoding="gzip")


def cut_gzip(to: Exchange) -> bool:
    body = gzip.compress(to.good()[1])
    return to.reply(body[: len(body) // 2], Content_Encoding="gzip")


def gzip_of_wrong_sum(to: Exchange) -> bool:
    body = bytearray(gzip.compress(to.good()[1]))
    body[-8] ^= 0xFF
    return to.reply(bytes(body), Content_Encoding="gzip")


def unknown_coding(to: Exchange) -> bool:
    return to.reply(gzip.compress(to.good()[1]), Content_Encoding="x-own")


def coded_a_hundred_times(to: Exchange) -> bool:
    return to.reply(to.good()[1], Content_Encoding=", ".join(["gzip"] * 100))


def _blanks(megabytes: int) -> Iterator[bytes]:
    yield b'{"meta":{},"results":['
    for _ in range(megabytes):
        yield b" " * MEGABYTE
    yield b"]}"


def _bomb() -> bytes:
    """Return a gzip of a gigabyte, a megabyte long: one packed piece, a thousand times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    begin = packer.compress(b'{"meta":{},"results":[') + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b" " * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + piece * 1000 + packer.flush()


def bomb(to: Exchange) -> bool:
    return to.reply(_bomb(), Content_Encoding="gzip")


def bomb_in_a_bomb(to: Exchange) -> bool:
    return to.reply(gzip.compress(_bomb()), Content_Encoding="gzip, gzip")


# --- the body ---


def gigabyte(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(head(1000 * MEGABYTE), then=_blanks(1000))
    return False


def endless_chunks(to: Exchange) -> bool:
    with suppress(OSError):
        to.send(CHUNKED, then=(chunk(piece) for piece in _blanks(1000)))
    return False


def deep(to: Exchange) -> bool:
    return to.reply(b'{"meta":{},"results":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def deep_rows(to: Exchange) -> bool:
    return to.reply(b'{"meta":{},"results":[{"a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"]}")


def html(to: Exchange) -> bool:
    return to.reply(b"<html><body>Please log in to the hotel network</body></html>", Content_Type="text/html")


def html_called_json(to: Exchange) -> bool:
    return to.reply(b"<html><body>Please log in</body></html>")


def wrong_type(to: Exchange) -> bool:
    return to.reply(to.good()[1], Content_Type="text/plain")


def empty(to: Exchange) -> bool:
    return to.reply(b"")


def blank(to: Exchange) -> bool:
    return to.reply(b" \r\n ")


def null(to: Exchange) -> bool:
    return to.reply(b"null")


def a_list(to: Exchange) -> bool:
    return to.reply(b"[]")


def another_object(to: Exchange) -> bool:
    return to.reply(b'{"hello":"world"}')


def results_no_list(to: Exchange) -> bool:
    return to.reply(b'{"meta":{},"results":{"0":{}}}')


def results_null(to: Exchange) -> bool:
    return to.reply(b'{"meta":{},"results":null}')


def twice(to: Exchange) -> bool:
    return to.reply(to.good()[1] * 2)


def utf16(to: Exchange) -> bool:
    return to.reply(to.good()[1].decode().encode("utf-16"))


def no_utf8(to: Exchange) -> bool:
    return to.reply(to.good()[1].replace("µ".encode(), b"\xb5").replace(b'"units":"', b'"units":"\xff'))


def nan(to: Exchange) -> bool:
    return to.reply(re.sub(rb'"value":[^,]*', b'"value":NaN', to.good()[1], count=1))


def infinity(to: Exchange) -> bool:
    return to.reply(re.sub(rb'"value":[^,]*', b'"value":-Infinity', to.good()[1], count=1))


def no_content(to: Exchange) -> bool:
    to.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    return True


def partial_content(to: Exchange) -> bool:
    return to.reply(to.good()[1], 206, Content_Range="bytes 0-1/2")


def not_modified(to: Exchange) -> bool:
    to.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    return True


def odd_status(to: Exchange) -> bool:
    return to.reply(to.good()[1], 999)


def redirect_to(url: str, status: int = 302) -> Manner:
    return lambda to: to.reply(b"{}", status, Location=url)


def status(number: int, **headers: str) -> Manner:
    return lambda to: to.reply(b'{"detail":"made on purpose"}', number, **headers)


CUT: tuple[Manner, ...] = (
    *(cut, cut_without_length, cut_after_a_row, cut_between_chunks, without_last_chunk, wrong_chunk_size),
    *(too_short_a_length, reset, hang_up, no_http, headers_without_end, one_endless_header),
    *(bad_gzip, cut_gzip, gzip_of_wrong_sum, unknown_coding, coded_a_hundred_times),
)
SLOW: tuple[Manner, ...] = (silence, silence_in_the_body, drip, drip_of_headers, continue_for_ever)
LARGE: tuple[Manner, ...] = (bomb, bomb_in_a_bomb, gigabyte, endless_chunks, deep, deep_rows)
SWAPPED: tuple[Manner, ...] = (
    *(html, html_called_json, wrong_type, empty, blank, null, a_list, another_object, results_no_list, results_null),
    *(twice, utf16, no_utf8, nan, infinity, no_content, partial_content, not_modified, odd_status),
)
STATUSES = (400, 403, 404, 408, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504, 507, 511, 520, 530, 599)
