"""What a blob is, as text: one line of ASCII that every header, attribute and file can hold.

    v=1&t=acme&b=models&k=fonts/arial.ttf&i=0190…&c=1700000000000000&h=9f86…

`v` form of the line, `t` tenant, `b` bucket, `k` key (percent-encoded UTF-8) or `K` (the same as base64url without
padding, where percents would make it too long), `i` version, `s` segment (left out where it is the version's id), `p` number of the
part (left out where it is no part), `c` microseconds since the epoch, `h` SHA-256 of the blob's bytes in hexadecimal
(left out where it was not known before they were sent). Whoever reads passes over letters that it does not know.

What was known of the version besides follows, as far as it fits: `y` content type, `e` ETag, `x` CRC-64/NVME of the blob in
hexadecimal, `n` number of segments, `l` storage class (all percent-encoded), `g` tags and `m` metadata (JSON in base64url
without padding). `o=1` says that something did not fit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from holdfast.core.types import BlobInfo, More, Origin

METADATA: Final = "holdfast"  #: the name under which a store keeps the line
MOST: Final = 1728  #: bytes of the longest line, with the name: it fits wherever 2,048 bytes of metadata do
_LONG: Final = 1366  #: characters that the longest key has in base64
_FORM: Final = "1"
_CUT: Final = "&o=1"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def tell(origin: Origin, most: int = MOST) -> str:
    """Return the line that says what a blob is; what was known besides is left out where it passes `most` bytes with the name."""
    fields = [
        f"v={_FORM}",
        f"t={origin.tenant}",
        f"b={origin.bucket}",
        _key(origin.key),
        f"i={origin.version}",
    ]
    if origin.segment != origin.version:
        fields.append(f"s={origin.segment}")
    if origin.part is not None:
        fields.append(f"p={origin.part}")
    fields.append(f"c={origin.created}")
    if origin.sha256 is not None:
        fields.append(f"h={origin.sha256}")
    return (
        _with_more("&".join(fields), origin.more, most - len(METADATA)) if origin.more else "&".join(fields)
    )


def _with_more(line: str, more: More, most: int) -> str:
    """Return `line` with what fits of `more` behind it."""
    told = [
        ("y", quote(more.content_type, safe="/;")),
        ("e", quote(more.etag, safe="")),
        ("x", more.crc64nvme),
        ("n", "" if more.count is None else str(more.count)),
        ("l", quote(more.storage_class, safe="")),
        ("g", _packed(more.tags)),
        ("m", _packed(more.metadata)),
    ]
    cut = more.cut
    for name, value in told:
        if not value:
            continue
        if len(line) + len(value) + 3 + len(_CUT) <= most:
            line += f"&{name}={value}"
        else:
            cut = True
    return line + _CUT if cut and len(line) + len(_CUT) <= most else line


def _packed(mapping: Mapping[str, str]) -> str:
    if not mapping:
        return ""
    text = json.dumps(dict(mapping), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpacked(text: str) -> dict[str, str]:
    found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError
    return found


def _more(fields: dict[str, str]) -> More | None:
    if not fields.keys() & set("yexnlgmo"):
        return None
    return More(
        content_type=unquote(fields.get("y", "")),
        metadata=_unpacked(fields.get("m", "")),
        tags=_unpacked(fields.get("g", "")),
        storage_class=unquote(fields.get("l", "")),
        etag=unquote(fields.get("e", "")),
        crc64nvme=fields.get("x", ""),
        count=int(fields["n"]) if "n" in fields else None,
        cut="o" in fields,
    )


def understand(line: str) -> Origin | None:
    """Return what the line says; None when it is none of ours, or of a form that is not known here."""
    fields = dict(field.partition("=")[::2] for field in line.strip().split("&"))
    if fields.get("v") != _FORM:
        return None
    try:
        digest, key = fields.get("h"), _key_of(fields)
        known = key and fields["t"] and fields["b"] and fields["i"]
        if not known or (digest is not None and not _SHA256.fullmatch(digest)):
            return None
        return Origin(
            tenant=fields["t"],
            bucket=fields["b"],
            key=key,
            version=fields["i"],
            segment=fields.get("s", fields["i"]),
            part=int(fields["p"]) if "p" in fields else None,
            created=int(fields["c"]),
            sha256=digest,
            more=_more(fields),
        )
    except (KeyError, ValueError, binascii.Error):
        return None


def origin_of(info: BlobInfo) -> Origin | None:
    """Return what the metadata of a blob says it is; None when it says nothing, as in a listing it may."""
    line = info.metadata.get(METADATA)
    return None if line is None else understand(line)


def _key(key: str) -> str:
    plain = quote(key, safe="/")
    if len(plain) <= _LONG:
        return f"k={plain}"
    return "K=" + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _key_of(fields: dict[str, str]) -> str:
    if "k" in fields:
        return unquote_to_bytes(fields["k"]).decode()
    packed = fields["K"]
    return base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
