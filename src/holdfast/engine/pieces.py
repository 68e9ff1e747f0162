"""Cutting what a client sends into pieces, and keeping each of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from holdfast.core.body import CHUNK, Body, Hasher
from holdfast.core.errors import DigestMismatchError, InvalidRequestError
from holdfast.core.types import NO_DIGESTS, Part, Upload
from holdfast.engine import checksums, rules
from holdfast.engine.context import Context
from holdfast.engine.grants import most_of
from holdfast.engine.part_reading import read_part
from holdfast.engine.storing import store_segment
from holdfast.engine.targets import blamed
from holdfast.engine.uploads import MAX_PARTS, begin_part, part_of, said_by
from holdfast.engine.write import too_large

MIB: Final = 1 << 20
PIECE: Final = 8 * MIB  #: what is lost at most when this process dies
_FEW: Final = 1000  #: pieces that may be as small as a client likes; later ones are put together


class BrokenOffError(InvalidRequestError):
    """A source broke off: what it gave until then is kept."""


ALGORITHMS: Final[dict[str, Callable[[], Hasher]]] = {
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    **{name: checksums.EXTRAS[name] for name in ("sha1", "sha512", "crc32", "crc32c")},
    "crc64nvme": checksums.ChunkedCrc64,
}


class Check:
    """What a client said of the bytes that it is sending; they count only if it holds."""

    def __init__(self, algorithm: str, digest: bytes) -> None:
        self._wanted: list[tuple[str, Hasher, bytes]] = []
        self.add(algorithm, digest)

    def add(self, algorithm: str, digest: bytes) -> None:
        """Ask that this holds as well. `InvalidRequestError`: the algorithm is not known."""
        if algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise InvalidRequestError(f"{algorithm[:40]!r} is not one of the checksums known here: {known}")
        self._wanted.append((algorithm, ALGORITHMS[algorithm](), digest))

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        for _, hasher, _ in self._wanted:
            hasher.update(data)

    def verify(self) -> None:
        """Return when the bytes are the announced ones; `DigestMismatchError` else."""
        for name, hasher, wanted in self._wanted:
            if hasher.digest() != wanted:
                raise DigestMismatchError(f"the {name} of the body is not the announced one; send it again")

    def settle(self, *, empty: bool) -> None:
        """Verify a source that turned out to be empty."""
        if empty:
            self.verify()


class Pieces:
    """A source that is read piece by piece. `broken` tells, at its end, that it was not the end."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._held = b""
        self._ended = False
        self.broken = False

    async def more(self) -> bool:
        """Tell whether there is another byte; waits for it."""
        while not self._held and not self._ended:
            await self._next()
        return bool(self._held)

    async def piece(
        self, most: int | None, *, within: int | None, check: Check | None
    ) -> AsyncIterator[bytes]:
        """Yield up to `most` bytes; all that is left when None.

        Raises:
            TooLargeError: there are more than `within`.
            BrokenOffError: the source broke off, and has a `check` that cannot be made.
        """
        given = 0
        while (most is None or given < most) and await self.more():
            size = len(self._held) if most is None else most - given
            data, self._held = self._held[:size], self._held[size:]
            given += len(data)
            if within is not None and given > within:
                raise too_large(within)
            if check is not None:
                check.update(data)
            yield data
        if check is not None:
            if self.broken:
                raise BrokenOffError("the client went away before its body could be checked")
            check.verify()

    async def _next(self) -> None:
        try:
            self._held = await anext(self._source)
        except StopAsyncIteration:
            self._ended = True
        except BrokenOffError:
            self._ended = self.broken = True


async def room_of(context: Context, upload: Upload) -> int | None:
    """Return how many bytes may still come; None when nothing bounds them."""
    bucket = await context.rules.bucket(upload.ref.tenant, upload.ref.bucket)
    most = most_of(upload, rules.largest(bucket, context.settings.max_object_size))
    ends = [end for end in (upload.length, most) if end is not None]
    return max(0, min(ends) - upload.received) if ends else None


async def append_piece(
    context: Context,
    upload: Upload,
    last: Part | None,
    pieces: Pieces,
    *,
    announced: int | None = None,
    check: Check | None = None,
) -> tuple[Part, int]:
    """Keep the next piece behind `last`; return the part that holds it, and how many bytes it added."""
    room = await room_of(context, upload)
    most = None if check is not None or (room is not None and room <= _size(upload)) else _size(upload)
    joins = last if last is not None and last.number >= _FEW and last.size < _least(upload) else None
    ends = [end for end in (most, room, announced) if end is not None]
    expected = min(ends) if ends else PIECE
    replicas = await begin_part(context, upload, expected + (joins.size if joins else 0), expected)
    try:
        flow = pieces.piece(most, within=room, check=check)
        source = flow if joins is None else _joined(context, upload, joins, flow)
        head, body = await Body.of_stream(source).peek(rules.HEAD)
        whole = (
            len(head) == rules.HEAD or len(head) == upload.length
        )  # else it is looked at when all is there
        if upload.received == 0 and upload.kind == "tus" and whole:
            bucket = await context.rules.bucket(upload.ref.tenant, upload.ref.bucket)
            rules.check_content(bucket, upload.ref.key, upload.content_type, head)
        written = await store_segment(
            context,
            upload.ref,
            replicas,
            body.gathered(CHUNK),
            NO_DIGESTS,
            upload.content_type,
            md5=upload.length is not None and upload.length <= context.settings.md5_limit,
            part=(last.number if last else 0) + (0 if joins else 1),
            more=said_by(upload),
        )
        now = await context.catalog.now()
        part = part_of(written.segment, number=0, created=now)  # the catalog gives the number
        kept = await context.catalog.append_part(
            upload,
            part,
            written.replica_ids,
            offset=upload.received,
            instead_of=joins.segment_id if joins else None,
            most=MAX_PARTS,
        )
    except BaseException as error:
        await context.abandon(replicas)
        blamed(context, [replica.store for replica in replicas], error)
        raise
    return kept, kept.size - (joins.size if joins else 0)


def _size(upload: Upload) -> int:
    """Return how large the next piece may be: so that 10,000 of them reach far beyond any object."""
    wanted = upload.received // 1000 if upload.length is None else upload.length // (MAX_PARTS // 2)
    return max(PIECE, -(-wanted // MIB) * MIB)


def _least(upload: Upload) -> int:
    """Return the size below which a last piece is put together with the next, once there are many."""
    wanted = upload.received // 1000 if upload.length is None else upload.length // (MAX_PARTS // 2)
    return max(MIB, wanted)


async def _joined(
    context: Context, upload: Upload, last: Part, flow: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the bytes of the last part, then the new ones."""
    async for chunk in read_part(context, upload, last):
        yield chunk
    async for chunk in flow:
        yield chunk
