"""What may be called what, and how blobs get their names.

A user's key is only ever data: in the *immutable* layout it does not appear in a blob's name at all, and in the
*readable* layout it appears escaped, in front of a part that is unique. So no key can leave a store's root, clash
with another or be rewritten by a store.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.core.types import ObjectRef

BUCKET_PREFIX = "opsconductor"  #: how the names of the default buckets for artifacts begin
MAX_KEY_BYTES = 1024
MAX_BLOB_NAME_BYTES = 1024
MAX_SEGMENT_BYTES = 255
INLINE = "catalog"  #: the store that is the catalog itself, for small contents; no other may be called so

AS_RULED: Final = "*"  #: in a tier: the stores of the rule; no store can be called so
ABOUT: Final = ":about"  #: ends the name of a record that says what a blob is; no minted name has a colon
SEALED: Final = ".floe1"  #: ends the name of a blob that is encrypted in our format 1
BACKUPS: Final = "_holdfast-backup/"  #: begins the names of backups in a store: no tenant may be called so, and no row knows them

_MINTED = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})(?:\.[^/:]*)?")
_DOTS = re.compile(r"(?:\A|[/\\])\.\.?(?:[/\\]|\Z)")  #: a segment that is `.` or `..`
_HOUR = 3_600_000_000  #: microseconds
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_BLOB_NAME = re.compile(r"[A-Za-z0-9!$'()*+,./:;=@_~-]+")
_SAFE_SEGMENT = re.compile(r"[^A-Za-z0-9!$'()+,;=@_~.-]")


class Layout(StrEnum):
    """How blob names look in a store. Both keep every promise; they differ in what a person sees there."""

    IMMUTABLE = "immutable"  #: <tenant>/<yyyymmddhh>/<blob>
    READABLE = "readable"  #: <tenant>/<bucket>/<escaped key>/<blob><extension>


def check_key(key: str) -> str:
    """Return `key` when an object may be called that.

    A key is 1 to 1,024 bytes of UTF-8 without control characters and without `.` or `..` segments, also after
    Unicode compatibility normalisation (so that no layout and no proxy can be talked into a parent directory).
    Keys are compared byte by byte: nothing is folded or trimmed.

    Raises:
        InvalidRequestError: saying which rule the key breaks.
    """
    if not key:
        raise InvalidRequestError("the key is empty; name the object with 1 to 1,024 bytes of UTF-8")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError("the key is not valid UTF-8 (it holds a lone surrogate)") from None
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidRequestError(f"the key has {len(encoded)} bytes; at most {MAX_KEY_BYTES} are allowed")
    if not key.isascii() or not key.isprintable():
        if any(ord(char) < 32 or ord(char) == 127 for char in key):
            raise InvalidRequestError("the key holds a control character (NUL, newline, tab or the like)")
        folded = unicodedata.normalize("NFKC", key)
    else:
        folded = key
    if "." in folded and _DOTS.search(folded):
        raise InvalidRequestError("the key holds a '.' or '..' path segment; use a name without one")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` (or a delimiter or marker) when keys can be compared with it: UTF-8 without NUL, at most 1,024 bytes."""
    try:
        encoded = prefix.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError("the prefix, delimiter or marker is not valid UTF-8") from None
    if len(encoded) > MAX_KEY_BYTES or b"\0" in encoded:
        raise InvalidRequestError("the prefix, delimiter or marker is longer than 1,024 bytes or holds NUL")
    return prefix


def check_bucket(name: str) -> str:
    """Return `name` when a bucket may be called that: S3's rules, 3 to 63 of `a-z 0-9 . -` (also `_`)."""
    if len(name) < 3 or not _SLUG.fullmatch(name) or ".." in name:
        raise InvalidRequestError(
            f"{name[:80]!r} is not a bucket name: use 3 to 63 of a-z, 0-9, '.', '-', '_', "
            "starting and ending with a letter or digit"
        )
    return name


def check_tenant(name: str) -> str:
    """Return `name` when a tenant may be called that: 1 to 63 of `a-z 0-9 . - _`."""
    if not _SLUG.fullmatch(name) or ".." in name:
        raise InvalidRequestError(
            f"{name[:80]!r} is not a tenant name: use 1 to 63 of a-z, 0-9, '.', '-', '_', "
            "starting and ending with a letter or digit"
        )
    return name


def check_schedule(name: str) -> str:
    """Return `name` when a schedule may be called that: 1 to 63 of `a-z 0-9 . - _`."""
    if not _SLUG.fullmatch(name) or ".." in name:
        raise InvalidRequestError(
            f"{name[:80]!r} is not a name for a schedule: use 1 to 63 of a-z, 0-9, '.', '-', '_', "
            "starting and ending with a letter or digit"
        )
    return name


def check_store(name: str) -> str:
    """Return `name` when a store may be called that: 1 to 63 of `a-z 0-9 . - _`, and not as the catalog itself."""
    if not _SLUG.fullmatch(name) or ".." in name:
        raise InvalidRequestError(
            f"{name[:80]!r} is not a name for a store: use 1 to 63 of a-z, 0-9, '.', '-', '_', "
            "starting and ending with a letter or digit"
        )
    if name == INLINE:
        raise InvalidRequestError(
            f"{INLINE!r} is the catalog itself, which holds small contents; choose another"
        )
    return name


def check_blob_name(name: str) -> str:
    """Return `name` when every backend stores it unchanged: the grammar that minted names keep.

    1 to 1,024 bytes of `A-Z a-z 0-9 ! $ ' ( ) * + , . / : ; = @ _ ~ -`; segments of 1 to 255 bytes, none of
    them `.` or `..`; no slash at either end.
    """
    if not name or len(name) > MAX_BLOB_NAME_BYTES or not _BLOB_NAME.fullmatch(name):
        raise InvalidRequestError(f"{name[:80]!r} is not a blob name: wrong length or characters")
    for segment in name.split("/"):
        if not segment or segment in (".", "..") or len(segment) > MAX_SEGMENT_BYTES:
            raise InvalidRequestError(f"{name[:80]!r} is not a blob name: bad segment {segment[:20]!r}")
    return name


def mint(layout: Layout, ref: ObjectRef, *, blob_id: str, now: int, sealed: bool = False) -> str:
    """Return the name under which a new blob for `ref` is stored; unique because `blob_id` is.

    That of a `sealed` (encrypted) blob ends with its format, so whoever has the name knows how to read it.
    """
    form = SEALED if sealed else ""
    if layout is Layout.IMMUTABLE:
        return f"{ref.tenant}/{_hour(now // _HOUR)}/{blob_id}{form}"
    folders = "/".join(_escape(part) for part in ref.key.split("/"))
    extension = _SAFE_SEGMENT.sub("", PurePosixPath(ref.key).suffix)[:16]
    if extension == SEALED:
        extension = ""  # it says of a blob what it says of a key
    tail = f"/{blob_id}{extension}{form}"
    head = f"{ref.tenant}/{ref.bucket}/{folders}"
    room = MAX_BLOB_NAME_BYTES - len(tail) - len(ABOUT)
    if len(head) > room:
        head = head[: room - 18].rstrip("/%.") + "~" + sha256(ref.key.encode()).hexdigest()[:16]
    return head + tail


def is_sealed(name: str) -> bool:
    """Tell whether the blob of that name is encrypted."""
    return name.endswith(SEALED) and not name.startswith("@")  # what others wrote is not ours to open


def blob_identity(name: str) -> tuple[str, str]:
    """Return the tenant and the id of a blob: what it stays, wherever it lies and whatever its object is called.

    A name that was not minted stands for itself.
    """
    tenant, _, rest = name.partition("/")
    found = _MINTED.fullmatch(rest.rpartition("/")[2])
    return tenant, found[1] if found else name


def is_minted(leaf: str) -> bool:
    """Tell whether the last segment of a name looks as if it were minted here, or were a record of such a blob."""
    return _MINTED.fullmatch(leaf.removesuffix(ABOUT)) is not None


def folder_name(layout: Layout, tenant: str, bucket: str, path: str) -> str | None:
    """Return how a folder of a bucket is called in a store; None where the names of blobs do not show it."""
    if layout is Layout.IMMUTABLE:
        return None
    return "/".join((tenant, bucket, *(_escape(part) for part in path.strip("/").split("/"))))


@lru_cache(16)
def _hour(hours: int) -> str:
    """Return the hour that began so many hours after the epoch, as blob names tell it."""
    return datetime.fromtimestamp(hours * 3600, UTC).strftime("%Y%m%d%H")


def _escape(segment: str) -> str:
    """Return `segment` with everything outside the blob grammar as `=XX`, never empty, never a dot name, ≤ 200 bytes."""
    if not segment or set(segment) == {"."}:
        return "=" + "".join(f"{byte:02X}" for byte in segment.encode()) + "="
    escaped = _SAFE_SEGMENT.sub(lambda match: "".join(f"={byte:02X}" for byte in match[0].encode()), segment)
    if len(escaped) > 200:
        escaped = escaped[:183] + "~" + sha256(segment.encode()).hexdigest()[:16]
    return escaped


FOLDER: Final = "application/x-directory"  #: the content type of what marks a folder


def marker(path: str) -> str:
    """Return the key that marks the folder `path`: with one slash at its end and none at its beginning.

    Raises:
        InvalidRequestError: it is no path of a folder.
    """
    pieces = path.strip("/").split("/")
    if not all(pieces):
        raise InvalidRequestError(f"{path[:80]!r} is no folder; write names with one slash between them")
    return check_key("/".join(pieces) + "/")
