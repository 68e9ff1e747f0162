"""Parameters that several routes share."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.routing import Param

WHOLE: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
BINARY: Final = "binary"  #: a body of raw bytes
FORM: Final = "form"  #: a multipart form

VERSION_ID: Final = Param("version_id", "this version instead of the current one")
AT: Final = Param("at", "a moment such as 2027-01-31T12:00:00Z: as it was then, where versions are kept")
DISPOSITION: Final = Param(
    "disposition",
    "`inline` lets a browser show images, audio, video and plain text; everything else stays an attachment",
    {"type": "string", "enum": ["inline", "attachment"]},
)
IF_MATCH: Final = Param("If-Match", "ETags, or `*`: go on only if the object has one of them", where="header")
IF_NONE: Final = Param("If-None-Match", "ETags, or `*`: go on only if it has none of them", where="header")
IF_SINCE: Final = Param("If-Modified-Since", "an HTTP date; 304 if not changed since", where="header")
IF_UNSINCE: Final = Param("If-Unmodified-Since", "an HTTP date; 412 if changed since", where="header")
RANGE: Final = Param(
    "Range", "one range of bytes; several, or anything else, are ignored and all is sent", where="header"
)
IF_RANGE: Final = Param("If-Range", "ETag or date: the range only of this version", where="header")
READING: Final = (VERSION_ID, AT, DISPOSITION, IF_MATCH, IF_NONE, IF_SINCE, IF_UNSINCE)
GUARDS: Final = (IF_MATCH, IF_NONE, IF_UNSINCE)
IDEMPOTENCY: Final = Param(
    "Idempotency-Key",
    "1 to 255 characters of the client's choice: the same request sent again is done once",
    {"type": "string", "maxLength": 255},
    "header",
)
ABOUT: Final = (
    Param("Content-Type", "of the object; guessed from the key when missing", where="header"),
    Param("x-holdfast-meta-NAME", "user metadata; name and value percent-encoded UTF-8", where="header"),
    Param("x-holdfast-tagging", "tags as `a=1&b=2`", where="header"),
    Param(
        "x-amz-storage-class",
        "a storage class, for placement rules that ask about it; kept and answered",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{0,64}$"},
        "header",
    ),
)
DIGESTS: Final = (
    Param(
        "Repr-Digest",
        "`sha-256=:BASE64:` (also sha-512 and md5), checked before anything becomes visible",
        where="header",
    ),
    Param("Content-Digest", "as Repr-Digest", where="header"),
    Param("Content-MD5", "MD5 in Base64, checked", where="header"),
    *(
        Param(f"x-amz-checksum-{name}", f"{title} in Base64, checked", where="header")
        for name, title in (
            ("sha256", "SHA-256"),
            ("sha1", "SHA-1"),
            ("crc32", "CRC-32"),
            ("crc32c", "CRC-32C"),
            ("crc64nvme", "CRC-64/NVME"),
        )
    ),
)
COPY_SOURCE: Final = Param(
    "x-holdfast-copy-source", "`bucket/key`, percent-encoded: copy that instead of the body", where="header"
)
PAGE: Final = (
    Param("prefix", "only keys that start with this"),
    Param("delimiter", "fold keys that share what comes before it into `prefixes`"),
    Param(
        "limit", "items and prefixes together; more than 1,000 counts as 1,000", {**WHOLE, "default": 1000}
    ),
)
MARKER: Final = Param("marker", "start after this key or prefix: the last page's `next_marker`")
PLACE: Final = (
    Param("bucket", "the upload's bucket", required=True),
    Param("key", "the upload's key", required=True),
)
FORM_PLACE: Final = (Param("bucket", "instead of the field"), Param("key", "instead of the field"))
