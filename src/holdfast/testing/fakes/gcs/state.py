"""What a bucket holds: objects with generations, uploads in parts, sessions. No HTTP."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final

from awscrt.checksums import crc32c

from holdfast.testing.fakes.gcs.contents import Content

PIECE: Final = 256 << 10  #: a session keeps whole multiples of this
WEEK: Final = 7 * 86_400_000_000
_METADATA_BYTES: Final = 8192


class Refusal(Exception):
    """An answer that is an error: its status and the code of the XML interface."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One generation of an object."""

    key: str
    content: Content
    headers: Mapping[str, str]  #: content-type, x-goog-meta-… and the like, as they were given
    generation: int
    modified: int
    etag: str

    @property
    def data(self) -> bytes:
        """All of its bytes, in memory."""
        return self.content.data

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.content.size

    @property
    def hashes(self) -> dict[str, str]:
        """The digests as the header x-goog-hash has them; an object made of parts has no MD5."""
        found = {"crc32c": self.content.crc32c}
        return found if "-" in self.etag else {**found, "md5": base64.b64encode(self.content.md5).decode()}


@dataclass(slots=True)
class Upload:
    """An upload in parts."""

    id: str
    key: str
    headers: Mapping[str, str]
    began: int
    parts: dict[int, tuple[str, Content]] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """A resumable upload."""

    id: str
    key: str
    headers: Mapping[str, str]
    began: int
    condition: int | None
    pieces: list[Content] = field(default_factory=list)
    made: StoredObject | None = None

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return sum(piece.size for piece in self.pieces)


class Bucket:
    """Objects by key, uploads and sessions by id."""

    def __init__(self, name: str, now: Callable[[], int], *, least_part: int = 5 << 20) -> None:
        self.name = name
        self.closed_to: set[str] = set()  #: kinds of accounts that may do nothing here (see `Accounts.asked`)
        self.objects: dict[str, StoredObject] = {}
        self.uploads: dict[str, Upload] = {}
        self.sessions: dict[str, Session] = {}
        self._now, self._least_part = now, least_part
        self._numbers = itertools.count(1)

    def get(self, key: str, generation: str = "") -> StoredObject:
        """Return the object; an older generation is gone."""
        found = self.objects.get(key)
        if found is None or generation not in ("", str(found.generation)):
            raise Refusal(404, "NoSuchKey")
        return found

    def check(self, key: str, condition: int | None) -> None:
        """Refuse unless the generation of `key` is `condition` (0: absent; None: whatever)."""
        held = self.objects.get(key)
        if condition is not None and condition != (held.generation if held else 0):
            raise Refusal(412, "PreconditionFailed")

    def put(
        self,
        key: str,
        data: bytes | Content,
        headers: Mapping[str, str],
        condition: int | None,
        etag: str = "",
    ) -> StoredObject:
        """Make `data` the content of `key`, or refuse and change nothing."""
        if not 0 < len(key.encode()) <= 1024 or "\r" in key or "\n" in key or key in (".", ".."):
            raise Refusal(400, "InvalidObjectName")
        sizes = [
            len(name) - 12 + len(value) for name, value in headers.items() if name.startswith("x-goog-meta-")
        ]
        if sum(sizes) > _METADATA_BYTES:
            raise Refusal(400, "MetadataTooLarge")
        self.check(key, condition)
        now = self._now()
        number = now * 1000 + next(self._numbers) % 1000
        content = Content.of(data) if isinstance(data, bytes) else data
        made = StoredObject(key, content, dict(headers), number, now, etag or content.md5.hex())
        self.objects[key] = made
        return made

    def delete(self, key: str, condition: int | None) -> None:
        """Remove `key`."""
        self.get(key)
        self.check(key, condition)
        del self.objects[key]

    def begin_upload(self, key: str, headers: Mapping[str, str]) -> Upload:
        """Open an upload in parts."""
        upload = Upload(f"upload-{next(self._numbers)}", key, dict(headers), self._now())
        self.uploads[upload.id] = upload
        return upload

    def upload(self, key: str, upload_id: str) -> Upload:
        """Return an open upload of `key`."""
        found = self.uploads.get(upload_id)
        if found is None or found.key != key:
            raise Refusal(404, "NoSuchUpload")
        return found

    def put_part(self, upload: Upload, number: int, data: bytes) -> str:
        """Keep a part and return its ETag."""
        if not 1 <= number <= 10_000:
            raise Refusal(400, "InvalidArgument")
        content = Content.of(data)
        etag = content.md5.hex()
        upload.parts[number] = (etag, content)
        return etag

    def complete(self, upload: Upload, wanted: list[tuple[int, str]]) -> StoredObject:
        """Make one object of the parts, whatever has the name: there is no condition."""
        if not wanted or [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
            raise Refusal(400, "InvalidPartOrder")
        for number, etag in wanted:
            if number not in upload.parts or upload.parts[number][0] != etag:
                raise Refusal(400, "InvalidPart")
        pieces = [upload.parts[number] for number, _ in wanted]
        if any(content.size < self._least_part for _, content in pieces[:-1]):
            raise Refusal(400, "EntityTooSmall")
        digest = md5(b"".join(bytes.fromhex(etag) for etag, _ in pieces)).hexdigest()  # noqa: S324
        made = self.put(
            upload.key,
            Content.joined(content for _, content in pieces),
            upload.headers,
            None,
            f"{digest}-{len(pieces)}",
        )
        del self.uploads[upload.id]
        return made

    def begin_session(self, key: str, headers: Mapping[str, str], condition: int | None) -> Session:
        """Open a resumable upload; the condition must hold now and once more at its end."""
        self.check(key, condition)
        session = Session(f"session-{next(self._numbers)}", key, dict(headers), self._now(), condition)
        self.sessions[session.id] = session
        return session

    def session(self, key: str, session_id: str) -> Session:
        """Return a session of the last seven days."""
        found = self.sessions.get(session_id)
        if found is None or found.key != key:
            raise Refusal(404, "NoSuchUpload")
        if self._now() - found.began > WEEK:
            raise Refusal(410, "Gone")
        return found

    def feed(self, session: Session, first: int, data: bytes, total: int | None) -> StoredObject | None:
        """Take a piece; return the object when it was the last one.

        What is not the end is kept in whole multiples of 256 KiB; bytes that are there already are passed over.
        """
        there = session.size
        if first > there:
            raise Refusal(503, "InvalidContentRange")
        fresh = data[there - first :]
        ends = total is not None and first + len(data) == total
        room = len(fresh) if ends else (there + len(fresh)) // PIECE * PIECE - there
        if room > 0:
            session.pieces.append(Content.of(fresh[:room]))
        if not ends:
            return None
        whole = Content.joined(session.pieces)
        session.made = self.put(session.key, whole, session.headers, session.condition)
        session.pieces = []
        return session.made


def sum_of(data: bytes) -> str:
    """Return the CRC32C as the service writes it: base64 of four bytes, the highest first."""
    return base64.b64encode(int(crc32c(data)).to_bytes(4, "big")).decode()


def digests_of(data: bytes) -> dict[str, str]:
    """Return what a request may announce of its body."""
    return {"crc32c": sum_of(data), "md5": base64.b64encode(md5(data).digest()).decode()}  # noqa: S324
