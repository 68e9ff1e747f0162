"""A proxy in front of a real S3 server that has the manners of another one: it refuses what that one is known to refuse.

    async with DialectProxy("127.0.0.1", server.port, "r2") as proxy:
        ...  # requests to proxy.url; what Cloudflare R2 would not take is refused as R2 refuses it
        proxy.script(slow_down(), failed_completion())  # and what it does on bad days

What is held against a client: headers and operations that the dialect lacks, parts that are not equal or too small,
storage classes, sizes, metadata, missing digests, listings out of order. It is made from what is written about these
servers, not from watching them. Where a real one would ignore a header in silence (a condition, say), it is refused
here, so that a test notices that it was sent. `proxy.refused` tells what was refused, and why.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote_plus, urlsplit

from holdfast.testing.proxy import Answer, Fault, Head, Proxy, Rewrite, Truncate

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_SSE: Final = re.compile(r"x-amz-server-side-encryption(?!-customer)")
_CHECKSUMS: Final = re.compile(r"x-amz-(sdk-)?checksum-(?!mode)")
_TAGS: Final = re.compile(r"x-amz-tagging")
_CONDITION: Final = re.compile(r"if-(none-)?match$")
_ACL: Final = re.compile(r"x-amz-(acl|grant-)")
_OTHER: Final = re.compile(r"x-amz-(website|object-lock|mfa|request-payer|expected-bucket-owner)")
_LACKING: Final = (501, "NotImplemented")

Refusal = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How one kind of server departs from S3 as Amazon speaks it."""

    headers: tuple[tuple[re.Pattern[str], Refusal], ...] = ()  #: headers that writing requests must not have
    conditions: bool = True  #: PutObject may be conditional
    late_conditions: bool = True  #: CompleteMultipartUpload may
    batch_delete: bool = True
    part_copy: bool = True
    equal_parts: bool = False
    tagging: bool = True
    versions: bool = True
    classes: tuple[str, ...] = ()  #: storage classes; none: any
    single: int = 5 * _GIB  #: largest body of one request
    metadata: int = 2048
    sorted: bool = (
        True  #: false: `a/b` comes before `a-b`, since folders are gone through one after the other
    )


MANNERS: Final[dict[str, Manners]] = {
    "aws": Manners(),
    "minio": Manners(classes=("STANDARD", "REDUCED_REDUNDANCY")),
    "r2": Manners(
        headers=tuple((pattern, _LACKING) for pattern in (_SSE, _TAGS, _ACL, _OTHER)),
        late_conditions=False,
        equal_parts=True,
        tagging=False,
        versions=False,
        classes=("STANDARD", "STANDARD_IA"),
        single=5 * _GIB - 5 * _MIB,
        metadata=8192,
    ),
    "gcs": Manners(
        headers=((_CHECKSUMS, (400, "ExcessHeaderValues")), (_SSE, _LACKING), (_TAGS, _LACKING)),
        conditions=False,
        late_conditions=False,
        batch_delete=False,
        part_copy=False,
        tagging=False,
        classes=("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"),
        metadata=8192,
    ),
    "b2": Manners(
        headers=((_CHECKSUMS, (400, "InvalidArgument")), (_TAGS, (400, "InvalidArgument"))),
        conditions=False,
        late_conditions=False,
        tagging=False,
        classes=("STANDARD",),
        single=5 * 10**9,
    ),
    "wasabi": Manners(
        headers=((_CHECKSUMS, (400, "InvalidRequest")),),
        conditions=False,
        late_conditions=False,
        classes=("STANDARD",),
    ),
    "garage": Manners(
        headers=((_SSE, _LACKING), (_TAGS, _LACKING), (_CHECKSUMS, (400, "InvalidRequest"))),
        conditions=False,
        late_conditions=False,
        tagging=False,
        versions=False,
        classes=("STANDARD",),
    ),
    "seaweedfs": Manners(conditions=False, late_conditions=False, sorted=False),
    "ceph": Manners(late_conditions=False),
    "versitygw": Manners(headers=((_SSE, _LACKING),), classes=("STANDARD",)),
    "rclone": Manners(conditions=False, late_conditions=False, tagging=False, versions=False),
    "naas": Manners(),
    "generic": Manners(conditions=False, late_conditions=False),
}


class DialectProxy(Proxy):
    """Stands in front of `host:port` and lets through only what a server of that dialect would take.

    With `one_write_a_second`, writes of one key follow each other no faster by `clock`, as on R2.
    """

    def __init__(
        self,
        host: str,
        port: int,
        dialect: str,
        *,
        one_write_a_second: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(host, port)
        self.manners = MANNERS[dialect]
        self.refused: list[tuple[Head, str]] = []
        self._paced = one_write_a_second
        self._clock = clock
        self._written: dict[str, float] = {}
        self._parts: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def choose(self, head: Head) -> Fault:
        """Refuse what the dialect does not take; else do what the script says, or pass."""
        refusal = self._refusal(head)
        if refusal is not None:
            self.refused.append((head, refusal[1]))
            return Answer(*refusal)
        fault = super().choose(head)
        if type(fault) is Fault and not self.manners.sorted and _is_listing(head):
            return Rewrite(change=by_folder)
        return fault

    def _refusal(self, head: Head) -> Refusal | None:
        query = _query(head)
        if head.method not in ("PUT", "POST"):
            return self._missing(query)
        return (
            self._missing(query)
            or self._of_headers(head, query)
            or self._of_parts(head, query)
            or self._of_pace(head, query)
        )

    def _missing(self, query: dict[str, str]) -> Refusal | None:
        manners = self.manners
        lacking = ("tagging" in query and not manners.tagging) or (
            bool({"versions", "versioning"} & query.keys()) and not manners.versions
        )
        return _LACKING if lacking else None

    def _of_headers(self, head: Head, query: dict[str, str]) -> Refusal | None:
        manners, names = self.manners, head.headers
        for pattern, refusal in manners.headers:
            if any(pattern.match(name) for name in names):
                return refusal
        if any(name.startswith("x-goog-") for name in names) and any(
            name.startswith("x-amz-") for name in names
        ):
            return 400, "ExcessHeaderValues"
        conditional = any(_CONDITION.match(name) for name in names)
        if conditional and not (manners.conditions if head.method == "PUT" else manners.late_conditions):
            return _LACKING
        storage_class = names.get("x-amz-storage-class", "")
        if storage_class and manners.classes and storage_class not in manners.classes:
            return 400, "InvalidStorageClass"
        meta = sum(
            len(name) - 11 + len(value) for name, value in names.items() if name.startswith("x-amz-meta-")
        )
        if meta > manners.metadata:
            return 400, "MetadataTooLarge"
        if head.length > manners.single:
            return 400, "EntityTooLarge"
        if "delete" in query:
            digest = "content-md5" in names or any(name.startswith("x-amz-checksum-") for name in names)
            return _LACKING if not manners.batch_delete else None if digest else (400, "InvalidRequest")
        return None

    def _of_parts(self, head: Head, query: dict[str, str]) -> Refusal | None:
        upload = query.get("uploadId", "")
        if not upload:
            return None
        if head.method == "PUT":
            copied = "x-amz-copy-source" in head.headers
            if copied and not self.manners.part_copy:
                return _LACKING
            number = int(query.get("partNumber", "0"))
            if not 1 <= number <= 10_000:
                return 400, "InvalidArgument"
            self._parts[upload][number] = _span(head) if copied else head.length
            return None
        sizes = [size for _, size in sorted(self._parts[upload].items())]
        if any(size < 5 * _MIB for size in sizes[:-1]):
            return 400, "EntityTooSmall"
        if self.manners.equal_parts and (len(set(sizes[:-1])) > 1 or sizes[-1:] > sizes[:1]):
            return 400, "InvalidPart"
        return None

    def _of_pace(self, head: Head, query: dict[str, str]) -> Refusal | None:
        if not self._paced or head.method != "PUT" or query:
            return None
        now, path = self._clock(), urlsplit(head.target).path
        if now - self._written.get(path, now - 1) < 1:
            return 429, "TooManyRequests"
        self._written[path] = now
        return None


# -- bad days ------------------------------------------------------------------------------------------------------
def slow_down(retry_after: int | None = None) -> Answer:
    """Return the fault that asks a client to come back later."""
    return Answer(503, "SlowDown", retry_after)


def expired_token() -> Answer:
    """Return the fault by which temporary keys have ended."""
    return Answer(400, "ExpiredToken")


def failed_completion(code: str = "InternalError") -> Answer:
    """Return the fault that answers CompleteMultipartUpload with 200 and tells of the failure in the body."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Answer(200, match=is_completion, body=body.encode())


def failed_deletions(*keys: str, code: str = "InternalError") -> Answer:
    """Return the fault that answers DeleteObjects with 200 and one error for each of `keys`; nothing is deleted."""
    failed = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key in keys)
    return Answer(200, match=is_batch_delete, body=f"<DeleteResult>{failed}</DeleteResult>".encode())


def short_body(length: int) -> Truncate:
    """Return the fault that ends the body of a GET after `length` bytes."""
    return Truncate(length=length, match=lambda head: head.method == "GET" and not _query(head))


def foreign_etag() -> Rewrite:
    """Return the fault by which an ETag looks like an MD5 and is none, as under a KMS key."""

    def change(name: str, value: str) -> str:
        return (
            value.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
            if name == "etag"
            else value
        )

    return Rewrite(head=change)


def by_folder(body: bytes) -> bytes:
    """Return a listing in the order of one who goes through folders, not of bytes."""
    items = [found[0] for found in re.finditer(rb"<Contents>.*?</Contents>", body, re.DOTALL)]
    if not items:
        return body
    before, _, rest = body.partition(items[0])
    after = rest.rpartition(items[-1])[2] if len(items) > 1 else rest
    ordered: list[bytes] = sorted(items, key=_path)
    return before + b"".join(ordered) + after


def is_completion(head: Head) -> bool:
    """Tell whether a request completes a multipart upload."""
    return head.method == "POST" and "uploadId" in _query(head)


def is_batch_delete(head: Head) -> bool:
    """Tell whether a request deletes many objects."""
    return head.method == "POST" and "delete" in _query(head)


def _is_listing(head: Head) -> bool:
    return head.method == "GET" and "list-type" in _query(head)


def _path(item: bytes) -> list[str]:
    found = re.search(rb"<Key>(.*?)</Key>", item)
    return unquote_plus(found[1].decode()).split("/") if found else []


def _span(head: Head) -> int:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", head.headers.get("x-amz-copy-source-range", ""))
    return int(found[2]) - int(found[1]) + 1 if found else 0


def _query(head: Head) -> dict[str, str]:
    found = parse_qs(urlsplit(head.target).query, keep_blank_values=True)
    return {name: values[0] for name, values in found.items()}
