"""Requests that must not be taken as they are: each is bytes that are followed by one more request.

What one server takes for the end of a message and another does not is how requests are smuggled past a proxy. So
everything here is refused, or at least ends the connection; the request behind it is never looked at.
"""

from __future__ import annotations

from typing import Final

PLACE: Final = b"/api/v1/objects/plain/attack"
HOST: Final = b"Host: localhost\r\n"
PUT: Final = b"PUT " + PLACE + b" HTTP/1.1\r\n" + HOST
GET: Final = b"GET /health/live HTTP/1.1\r\n"
BEHIND: Final = b"DELETE /api/v1/objects/plain/victim HTTP/1.1\r\n" + HOST + b"\r\n"
ENDED: Final = b"0\r\n\r\n"

_CODINGS: Final = {
    "unknown": b"Transfer-Encoding: xchunked",
    "space before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "identity": b"Transfer-Encoding: identity",
    "identity first": b"Transfer-Encoding: identity, chunked",
    "identity last": b"Transfer-Encoding: chunked, identity",
    "twice in one": b"Transfer-Encoding: chunked, chunked",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "twice, one unknown": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "twice, unknown first": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "gzip": b"Transfer-Encoding: gzip",
    "gzip and chunked": b"Transfer-Encoding: gzip, chunked",
    "vertical tab": b"Transfer-Encoding:\x0bchunked",
    "vertical tab behind": b"Transfer-Encoding: chunked\x0b",
    "form feed": b"Transfer-Encoding: \x0cchunked",
    "NUL": b"Transfer-Encoding: chunked\x00",
    "a parameter": b"Transfer-Encoding: chunked;q=1",
    "a semicolon": b"Transfer-Encoding: chunked;",
    "quoted": b'Transfer-Encoding: "chunked"',
    "an empty member": b"Transfer-Encoding: ,chunked",
    "an empty last member": b"Transfer-Encoding: chunked,",
    "a word behind": b"Transfer-Encoding: chunked foo",
    "a space inside": b"Transfer-Encoding: chun ked",
    "empty": b"Transfer-Encoding:",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded with a tab": b"Transfer-Encoding:\r\n\tchunked",
    "behind a bare line feed": b"X-A: b\nTransfer-Encoding: chunked",
    "behind a bare carriage return": b"X-A: b\rTransfer-Encoding: chunked",
    "behind a space": b" Transfer-Encoding: chunked",
    "high bytes": b"Transfer-Encoding: \xffchunked",
}

_LENGTHS: Final = {
    "plus": b"Content-Length: +3",
    "minus": b"Content-Length: -3",
    "hexadecimal": b"Content-Length: 0x3",
    "a fraction": b"Content-Length: 3.0",
    "an exponent": b"Content-Length: 3e0",
    "an underscore": b"Content-Length: 0_3",
    "two words": b"Content-Length: 3 3",
    "a list": b"Content-Length: 3, 3",
    "a list of two": b"Content-Length: 3, 4",
    "a letter": b"Content-Length: 3a",
    "a letter first": b"Content-Length: a3",
    "quoted": b'Content-Length: "3"',
    "empty": b"Content-Length:",
    "other digits": b"Content-Length: \xd9\xa3",
    "a NUL": b"Content-Length: 3\x00",
    "a vertical tab": b"Content-Length: 3\x0b",
    "too large": b"Content-Length: 99999999999999999999999",
    "just past 64 bits": b"Content-Length: 18446744073709551619",
    "the same twice": b"Content-Length: 3\r\nContent-Length: 3",
    "two": b"Content-Length: 3\r\nContent-Length: 4",
    "two, zero first": b"Content-Length: 0\r\nContent-Length: 3",
    "a space before the colon": b"Content-Length : 3",
    "a NUL in the name": b"Content-Length\x00: 3",
    "folded": b"Content-Length:\r\n 3",
    "behind a space": b" Content-Length: 3",
    "behind a bare line feed": b"X-A: b\nContent-Length: 3",
}

_FIRST_LINES: Final = {
    "HTTP/0.9": b"GET /health/live\r\n",
    "no version": b"GET /health/live \r\n" + HOST,
    "a small protocol": b"GET /health/live http/1.1\r\n" + HOST,
    "HTTP/1.10": b"GET /health/live HTTP/1.10\r\n" + HOST,
    "HTTP/1.2": b"GET /health/live HTTP/1.2\r\n" + HOST,
    "HTTP/2.0": b"GET /health/live HTTP/2.0\r\n" + HOST,
    "HTTP/0.9 by name": b"GET /health/live HTTP/0.9\r\n" + HOST,
    "HTTP/1.": b"GET /health/live HTTP/1.\r\n" + HOST,
    "HTTP/1": b"GET /health/live HTTP/1\r\n" + HOST,
    "HTTP/+1.1": b"GET /health/live HTTP/+1.1\r\n" + HOST,
    "another protocol": b"GET /health/live ICE/1.0\r\n" + HOST,
    "a word behind the version": b"GET /health/live HTTP/1.1 x\r\n" + HOST,
    "no method": b"/health/live HTTP/1.1\r\n" + HOST,
    "a small method": b"get /health/live HTTP/1.1\r\n" + HOST,
    "an unheard method": b"FROBNICATE /health/live HTTP/1.1\r\n" + HOST,
    "a NUL in the method": b"G\x00ET /health/live HTTP/1.1\r\n" + HOST,
    "a space first": b" GET /health/live HTTP/1.1\r\n" + HOST,
    "tabs between": b"GET\t/health/live\tHTTP/1.1\r\n" + HOST,
    "a space in the target": b"GET /health/li ve HTTP/1.1\r\n" + HOST,
    "a NUL in the target": b"GET /health/live\x00 HTTP/1.1\r\n" + HOST,
    "a carriage return in the target": b"GET /health/live\r HTTP/1.1\r\n" + HOST,
    "high bytes in the target": b"GET /health/\xc3\xa9 HTTP/1.1\r\n" + HOST,
    "no slash": b"GET health HTTP/1.1\r\n" + HOST,
    "a backslash": b"GET \\health HTTP/1.1\r\n" + HOST,
    "an authority": b"GET localhost:80 HTTP/1.1\r\n" + HOST,
    "an asterisk": b"GET * HTTP/1.1\r\n" + HOST,
    "another host": b"GET http://elsewhere.example/health/live HTTP/1.1\r\n" + HOST,
    "another scheme": b"GET ftp://localhost/health/live HTTP/1.1\r\n" + HOST,
    "a user in the target": b"GET http://me@localhost/health/live HTTP/1.1\r\n" + HOST,
    "CONNECT": b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST,
    "TRACE-like method": b"TRACK / HTTP/1.1\r\n" + HOST,
    "no target": b"GET HTTP/1.1\r\n" + HOST,
    "a byte order mark": b"\xef\xbb\xbfGET /health/live HTTP/1.1\r\n" + HOST,
    "a long target": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST,
    "a long method": b"A" * 5000 + b" /health/live HTTP/1.1\r\n" + HOST,
}

_FIELDS: Final = {
    "no host": b"",
    "two hosts": HOST + HOST,
    "two hosts that differ": HOST + b"Host: elsewhere\r\n",
    "a list of hosts": b"Host: localhost, elsewhere\r\n",
    "a host with a space": b"Host: local host\r\n",
    "a host with a path": b"Host: localhost/health\r\n",
    "a host with a user": b"Host: me@localhost\r\n",
    "a host with a bad port": b"Host: localhost:8o83\r\n",
    "a host with a tab": b"Host: localhost\tx\r\n",
    "a host behind a space": b" Host: localhost\r\n",
    "a folded host": b"Host:\r\n localhost\r\n",
    "NUL in a value": HOST + b"X-A: b\x00c\r\n",
    "NUL in a name": HOST + b"X-\x00A: b\r\n",
    "a control character in a value": HOST + b"X-A: b\x01c\r\n",
    "DEL in a value": HOST + b"X-A: b\x7fc\r\n",
    "a carriage return in a value": HOST + b"X-A: b\rX-B: c\r\n",
    "a line feed in a value": HOST + b"X-A: b\nX-B: c\r\n",
    "two carriage returns": HOST + b"X-A: b\r\r\n",
    "a folded line": HOST + b"X-A: b\r\n c\r\n",
    "a line folded with a tab": HOST + b"X-A: b\r\n\tc\r\n",
    "a space in a name": HOST + b"X A: b\r\n",
    "a space before the colon": HOST + b"X-A : b\r\n",
    "a tab before the colon": HOST + b"X-A\t: b\r\n",
    "no name": HOST + b": b\r\n",
    "no colon": HOST + b"nonsense\r\n",
    "high bytes in a name": HOST + b"X-\xc3\xa9: b\r\n",
    "a bracket in a name": HOST + b"X[A]: b\r\n",
    "a quote in a name": HOST + b'X"A: b\r\n',
    "a folded first line": b" X-A: b\r\n" + HOST,
    "too many": HOST + b"X-A: b\r\n" * 300,
    "too many by far": HOST + b"X-A: b\r\n" * 20_000,
    "a value too long": HOST + b"X-A: " + b"b" * 70_000 + b"\r\n",
    "a name too long": HOST + b"X" * 70_000 + b": b\r\n",
    "an unmet expectation": HOST + b"Expect: 200-ok\r\n",
    "two expectations": HOST + b"Expect: 200-ok\r\nExpect: 100-continue\r\n",
    "a list of expectations": HOST + b"Expect: 100-continue, 200-ok\r\n",
    "an empty expectation": HOST + b"Expect:\r\n",
}

_CHUNKS: Final = {
    "letters": b"zz\r\nabc\r\n",
    "minus": b"-3\r\nabc\r\n",
    "plus": b"+3\r\nabc\r\n",
    "hexadecimal": b"0x3\r\nabc\r\n",
    "an underscore": b"0_3\r\nabc\r\n",
    "a space first": b" 3\r\nabc\r\n",
    "a tab first": b"\t3\r\nabc\r\n",
    "empty": b"\r\nabc\r\n",
    "too large": b"ffffffffffffffffff\r\nabc\r\n",
    "just past 64 bits": b"10000000000000003\r\nabc\r\n",
    "a NUL": b"3\x00\r\nabc\r\n",
    "a vertical tab": b"3\x0b\r\nabc\r\n",
    "a bare line feed": b"3\nabc\r\n",
    "a bare carriage return": b"3\rabc\r\n",
    "a bare line feed behind the data": b"3\r\nabc\n",
    "a bare carriage return behind the data": b"3\r\nabc\r",
    "longer than said": b"3\r\nabcdef\r\n",
    "no end": b"3\r\nabc",
    "a line feed in an extension": b"3;a\n=b\r\nabc\r\n",
    "a carriage return in an extension": b"3;a\rb\r\nabc\r\n",
    "a NUL in an extension": b"3;a\x00b\r\nabc\r\n",
    "an extension that never ends": b"3;" + b"a" * 400_000 + b"\r\nabc\r\n",
}

_TRAILERS: Final = {
    "a length": b"Content-Length: 3\r\n\r\n",
    "a coding": b"Transfer-Encoding: chunked\r\n\r\n",
    "a host": b"Host: elsewhere\r\n\r\n",
    "a token": b"Authorization: Bearer abc\r\n\r\n",
    "a cookie": b"Cookie: a=b\r\n\r\n",
    "a type": b"Content-Type: text/html\r\n\r\n",
    "a condition": b"If-Match: *\r\n\r\n",
    "an address": b"X-Forwarded-For: 10.0.0.1\r\n\r\n",
    "a checksum": b"x-amz-checksum-crc32: AAAAAA==\r\n\r\n",
    "a digest": b"Repr-Digest: sha-256=:AAAA:\r\n\r\n",
    "no colon": b"nonsense\r\n\r\n",
    "a request": BEHIND,
    "a NUL": b"X-A: b\x00\r\n\r\n",
    "a fold": b"X-A: b\r\n c\r\n\r\n",
    "a bare line feed": b"X-A: b\n\r\n",
    "too long": b"X-A: " + b"b" * 20_000 + b"\r\n\r\n",
    "too many": b"X-A: b\r\n" * 3000 + b"\r\n",
    "endless": b"X-A: " + b"b" * 400_000,
}

_ENDINGS: Final = {
    "bare line feeds": b"GET /health/live HTTP/1.1\nHost: localhost\n\n",
    "a bare line feed in the first line": b"GET /health/live HTTP/1.1\n" + HOST + b"\r\n",
    "a bare line feed at the end": GET + HOST + b"\n",
    "a bare line feed before the end": GET + b"Host: localhost\n\r\n",
    "a bare carriage return in the first line": b"GET /health/live HTTP/1.1\r" + HOST + b"\r\n",
    "line feed first": b"GET /health/live HTTP/1.1\n\rHost: localhost\n\r\n\r",
    "two carriage returns": b"GET /health/live HTTP/1.1\r\r\n" + HOST + b"\r\n",
    "two carriage returns at the end": GET + HOST + b"\r\r\n",
}

_STRANGERS: Final = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO localhost\r\n",
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a proxy's line": b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 80\r\n",
    "a proxy's binary line": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    "every byte": bytes(range(256)) * 4,
    "NUL bytes": bytes(1000),
    "JSON": b'{"method": "GET"}\r\n\r\n',
}


def _corpus() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, line in _CODINGS.items():
        found[f"coding: {name}"] = PUT + line + b"\r\n\r\n" + ENDED
        found[f"coding, then length: {name}"] = PUT + line + b"\r\nContent-Length: 5\r\n\r\n" + ENDED
        found[f"length, then coding: {name}"] = PUT + b"Content-Length: 5\r\n" + line + b"\r\n\r\n" + ENDED
    chunked = PUT + b"Transfer-Encoding: chunked\r\n"
    found["coding, then length: chunked"] = chunked + b"Content-Length: 5\r\n\r\n" + ENDED
    found["length, then coding: chunked"] = (
        PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + ENDED
    )
    found["coding: in HTTP/1.0"] = (
        b"PUT " + PLACE + b" HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + ENDED
    )
    for name, line in _LENGTHS.items():
        found[f"length: {name}"] = PUT + line + b"\r\n\r\nabc"
    for name, line in _FIRST_LINES.items():
        found[f"first line: {name}"] = line + b"\r\n"
    for name, lines in _FIELDS.items():
        found[f"field: {name}"] = GET + lines + b"\r\n"
    for name, chunk in _CHUNKS.items():
        found[f"chunk: {name}"] = chunked + b"\r\n" + chunk + ENDED
    for name, trailer in _TRAILERS.items():
        found[f"trailer: {name}"] = chunked + b"\r\n3\r\nabc\r\n0\r\n" + trailer
    for name, whole in (*_ENDINGS.items(), *_STRANGERS.items()):
        found[f"message: {name}"] = whole
    return found


CORPUS: Final = _corpus()

#: Sound requests that are answered; but what follows on their connection is another language, so it is not looked at.
ENDING: Final = {
    "upgrade to h2c": GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n\r\n",
    "upgrade to websocket": GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "connection: close": GET + HOST + b"Connection: close\r\n\r\n",
    "HTTP/1.0": b"GET /health/live HTTP/1.0\r\n\r\n",
    "garbage behind a request": GET + HOST + b"\r\n" + b"GARBAGE\r\n\r\n",
    "a broken request behind a sound one": GET + HOST + b"\r\n" + GET + b"\r\n",
}  # fmt: skip

#: What looks odd and is right: refusing it would lock clients out.
SOUND: Final = {
    "chunked in capitals": PUT + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "an extension": PUT + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "an unknown trailer": PUT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Took: 3 ms\r\n\r\n",
    "leading zeros": PUT + b"Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n",
    "chunks of one byte": PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n",
    "spaces around a length": PUT + b"Content-Length:   3  \r\n\r\nabc",
    "no spaces": b"PUT " + PLACE + b" HTTP/1.1\r\nHost:localhost\r\nContent-Length:3\r\n\r\nabc",
    "an empty line first": b"\r\n" + PUT + b"Content-Length: 3\r\n\r\nabc",
    "its own host in the target": b"PUT http://localhost" + PLACE + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    "a host with a port": b"PUT " + PLACE + b" HTTP/1.1\r\nHost: [::1]:8083\r\nContent-Length: 3\r\n\r\nabc",
    "expectation in capitals": PUT + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc",
}  # fmt: skip
