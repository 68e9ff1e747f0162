"""Fields behind a chunked body. They never count as headers, and those that would change the request are refused."""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 8 << 10
#: Digests of a body are taken from headers only: nobody shall believe that one in a trailer was compared.
DIGESTS: Final = frozenset(
    {b"content-md5", b"repr-digest", b"content-digest", b"digest"}
    | {b"x-amz-checksum-" + name for name in (b"crc32", b"crc32c", b"crc64nvme", b"sha1", b"sha256")}
)
#: What RFC 9110 §6.5.1 keeps out of trailers: framing, routing, conditions, authentication, and how to read the body.
FORBIDDEN: Final = DIGESTS | {
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-none-match",
    b"keep-alive",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}
