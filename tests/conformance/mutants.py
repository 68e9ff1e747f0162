"""Backends that each break one promise, as a careless author would. The suite must catch every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from holdfast.backends.memory import MemoryBackend
from holdfast.core.adopted import foreign_name, is_foreign, parse_foreign
from holdfast.core.backend import NO_OPTIONS, Capability, PutOptions
from holdfast.core.body import Body, Reader
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    UnsupportedError,
)
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.layers.base import Layer

ALL = ~Capability.NONE


class Mutant(Layer):
    """Forwards everything to memory; each subclass gets one thing wrong."""

    preserves = ALL
    caught_by = ""  #: the promise that must be reported as broken

    def __init__(self) -> None:
        super().__init__(MemoryBackend("mutant"))

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name, body, options=options, if_absent=if_absent)

    async def taken(self, name: str) -> bool:
        try:
            await self.inner.head(name)
        except NotFoundError:
            return False
        return True


class LosesTheLastByte(Mutant):
    caught_by = "one_byte_round_trips"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        data = await body.read()
        return await self.inner.put(name, Body.of_bytes(data[:-1]), options=options, if_absent=if_absent)


class ChangesLineEnds(Mutant):
    caught_by = "every_byte_value_survives"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        data = (await body.read()).replace(b"\r\n", b"\n")
        return await self.inner.put(name, Body.of_bytes(data), options=options, if_absent=if_absent)


class DropsTheLastChunk(Mutant):
    caught_by = "a_stream_of_unknown_length_round_trips"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        chunks = [chunk async for chunk in body.chunks()]
        data = b"".join(chunks[:-1] if len(chunks) > 20 else chunks)
        return await self.inner.put(name, Body.of_bytes(data), options=options, if_absent=if_absent)


class TellsAnotherSize(Mutant):
    caught_by = "put_and_head_agree"

    async def head(self, name: str) -> BlobInfo:
        info = await self.inner.head(name)
        return info._replace(size=info.size + 1)


class CountsMilliseconds(Mutant):
    caught_by = "modified_is_about_now"

    async def head(self, name: str) -> BlobInfo:
        info = await self.inner.head(name)
        return info._replace(modified=info.modified // 1000)


class GivesEverythingAtOnce(Mutant):
    caught_by = "chunks_are_bytes_and_never_empty"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with self.inner.get(name, range=range) as reader:

            async def whole() -> AsyncIterator[bytes]:
                yield b"".join([chunk async for chunk in reader.chunks])

            yield replace(reader, chunks=whole())


class KeepsTheLongerContent(Mutant):
    """Opens the file without truncating it."""

    caught_by = "an_overwrite_replaces_the_content"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        data = await body.read()
        if not if_absent and await self.taken(name):
            async with self.inner.get(name) as reader:
                data += (await reader.read())[len(data) :]
        return await self.inner.put(name, Body.of_bytes(data), options=options, if_absent=if_absent)


class OverwritesInTwoSteps(Mutant):
    caught_by = "readers_see_one_whole_content_while_it_is_overwritten"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        data = await body.read()
        if not if_absent:
            await self.inner.delete(name)
            await asyncio.sleep(0)
        return await self.inner.put(name, Body.of_bytes(data), options=options, if_absent=if_absent)


class RefusesToDeleteNothing(Mutant):
    caught_by = "deleting_what_is_absent_succeeds"

    async def delete(self, name: str) -> None:
        await self.inner.head(name)
        await self.inner.delete(name)


class ForgetsToDelete(Mutant):
    caught_by = "delete_removes"

    async def delete(self, name: str) -> None:
        await self.inner.head(name) if await self.taken(name) else None


class DeletesWhatBeginsAlike(Mutant):
    caught_by = "names_that_begin_alike_are_different"

    async def delete(self, name: str) -> None:
        for found in [info.name async for info in self.inner.list(name)]:
            await self.inner.delete(found)


class IgnoresTheEndOfARange(Mutant):
    caught_by = "a_range_gives_just_that_part"

    def get(self, name: str, *, range: ByteRange | None = None):  # type: ignore[no-untyped-def]
        return self.inner.get(
            name, range=ByteRange(range.start) if range and range.start is not None else range
        )


class ExcludesTheEndOfARange(Mutant):
    caught_by = "many_ranges_of_a_large_blob_fit_together"

    def get(self, name: str, *, range: ByteRange | None = None):  # type: ignore[no-untyped-def]
        if range and range.start is not None and range.end is not None and range.end > range.start:
            range = ByteRange(range.start, range.end - 1)
        return self.inner.get(name, range=range)


class AnswersNothingPastTheEnd(Mutant):
    caught_by = "a_range_past_the_end_is_refused"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        info = await self.inner.head(name)
        if range is not None and range.start is not None and range.start >= info.size:
            async with self.inner.get(name) as reader:
                yield replace(reader, span=Span(info.size, 0), chunks=_nothing())
        else:
            async with self.inner.get(name, range=range) as reader:
                yield reader


class IgnoresIfAbsent(Mutant):
    caught_by = "if_absent_refuses_a_taken_name"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name, body, options=options)


class LooksBeforeItLeaps(Mutant):
    """Asks whether the name is free, then writes."""

    caught_by = "if_absent_lets_one_of_many_win"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        if if_absent and await self.taken(name):
            raise AlreadyExistsError("taken", operation="put", store=self.store, name=name)
        await asyncio.sleep(0)
        return await self.inner.put(name, body, options=options)


class ShowsPartsOfAFailure(Mutant):
    caught_by = "a_put_whose_source_breaks_shows_nothing"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        held = b""
        try:
            async for chunk in body.chunks():
                held += chunk
        except HoldfastError:
            await self.inner.put(name, Body.of_bytes(held), options=options)
            raise
        return await self.inner.put(name, Body.of_bytes(held), options=options, if_absent=if_absent)


class DropsTheOldOneFirst(Mutant):
    caught_by = "a_put_that_fails_keeps_the_old_content"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        if not if_absent:
            await self.inner.delete(name)
        return await self.inner.put(name, body, options=options, if_absent=if_absent)


class WritesOnWhenCancelled(Mutant):
    caught_by = "a_cancelled_put_shows_nothing"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        held = b""
        try:
            async for chunk in body.chunks():
                held += chunk
        except asyncio.CancelledError:
            await self.inner.put(name, Body.of_bytes(held), options=options)
            raise
        return await self.inner.put(name, Body.of_bytes(held), options=options, if_absent=if_absent)


class TrustsTheAnnouncedSize(Mutant):
    caught_by = "a_body_longer_than_announced_is_refused"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        held = b""
        async for chunk in body.chunks():
            held += chunk
            if body.size is not None and len(held) >= body.size:
                held = held[: body.size]
                break
        return await self.inner.put(name, Body.of_bytes(held), options=options, if_absent=if_absent)


class SwallowsTheEndOfTheSource(Mutant):
    caught_by = "a_body_shorter_than_announced_is_refused"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        held = b""
        try:
            async for chunk in body.chunks():
                held += chunk
        except HoldfastError:
            pass
        return await self.inner.put(name, Body.of_bytes(held), options=options, if_absent=if_absent)


class ListsUnsorted(Mutant):
    caught_by = "a_listing_is_in_byte_order"

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        found = [info async for info in self.inner.list(prefix, after=after)]
        for info in sorted(found, key=lambda info: info.name.split("/")):
            yield info


class ListsOnePage(Mutant):
    caught_by = "a_listing_of_many_is_complete"

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        count = 0
        async for info in self.inner.list(prefix, after=after):
            if count == 1000:
                return
            count += 1
            yield info


class RepeatsAtThePageEdge(Mutant):
    caught_by = "a_listing_of_many_is_complete"

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        count = 0
        async for info in self.inner.list(prefix, after=after):
            yield info
            count += 1
            if count == 1000:
                yield info


class TakesPrefixesForFolders(Mutant):
    caught_by = "a_prefix_is_a_plain_string"

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        async for info in self.inner.list(prefix, after=after):
            if not prefix or prefix.endswith("/") or info.name[len(prefix) :][:1] in ("", "/"):
                yield info


class BeginsAtAfter(Mutant):
    caught_by = "after_goes_on_behind_a_name"

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        if after.startswith(prefix) and await self.taken(after):
            yield await self.inner.head(after)
        async for info in self.inner.list(prefix, after=after):
            yield info

    async def taken(self, name: str) -> bool:
        try:
            return await super().taken(name)
        except HoldfastError:
            return False


class FoldsCase(Mutant):
    caught_by = "names_that_differ_in_case_are_different"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name.lower(), body, options=options, if_absent=if_absent)

    def get(self, name: str, *, range: ByteRange | None = None):  # type: ignore[no-untyped-def]
        return self.inner.get(name.lower(), range=range)

    async def head(self, name: str) -> BlobInfo:
        return await self.inner.head(name.lower())


class TrimsDots(Mutant):
    caught_by = "dots_mean_nothing"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name.rstrip("."), body, options=options, if_absent=if_absent)


class CutsLongNames(Mutant):
    caught_by = "a_segment_may_have_255_bytes"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        short = "/".join(segment[:254] for segment in name.split("/"))
        return await self.inner.put(short, body, options=options, if_absent=if_absent)


class HasRealFolders(Mutant):
    caught_by = "a_blob_and_a_folder_may_share_a_name"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        async for _ in self.inner.list(name + "/"):
            raise ConflictError("is a folder", operation="put", store=self.store, name=name)
        return await self.inner.put(name, body, options=options, if_absent=if_absent)


class TakesAnyName(Mutant):
    caught_by = "names_outside_the_grammar_are_refused"

    async def delete(self, name: str) -> None:
        try:
            await self.inner.delete(name)
        except HoldfastError:
            return


class LosesMetadata(Mutant):
    caught_by = "metadata_is_kept"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name, body, if_absent=if_absent)


class MergesMetadata(Mutant):
    caught_by = "an_overwrite_replaces_the_metadata"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        old = dict((await self.inner.head(name)).metadata) if await self.taken(name) else {}
        merged = PutOptions(options.content_type, {**old, **options.metadata})
        return await self.inner.put(name, body, options=merged, if_absent=if_absent)


class ForgetsThePin(Mutant):
    caught_by = "a_pin_means_one_content"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        plain = foreign_name(parse_foreign(name).key) if is_foreign(name) else name
        async with self.inner.get(plain, range=range) as reader:
            yield reader


class CopiesByReference(Mutant):
    caught_by = "copies_of_one_source_are_apart"

    def __init__(self) -> None:
        super().__init__()
        self._same: dict[str, str] = {}

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        name = self._same.get(name, name)
        return await self.inner.put(name, body, options=options, if_absent=if_absent)

    async def copy(self, source: str, target: str) -> BlobInfo:
        info = await self.inner.copy(source, target)
        self._same[target] = source
        return info


class OffersWhatItCannot(Mutant):
    caught_by = "a_copy_is_a_blob_of_its_own"

    async def copy(self, source: str, target: str) -> BlobInfo:
        raise UnsupportedError("not yet", operation="copy", store=self.store, name=source)


class DoesWhatItDoesNotOffer(Mutant):
    caught_by = "what_is_not_offered_is_refused"
    preserves = ALL & ~Capability.IF_ABSENT

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.inner.put(name, body, options=options)


class LetsForeignErrorsThrough(Mutant):
    caught_by = "what_is_absent_is_not_found"

    async def head(self, name: str) -> BlobInfo:
        try:
            return await self.inner.head(name)
        except NotFoundError:
            raise KeyError(name) from None


class DoesNotSayWhere(Mutant):
    caught_by = "errors_tell_where"

    async def head(self, name: str) -> BlobInfo:
        try:
            return await self.inner.head(name)
        except NotFoundError:
            raise NotFoundError("nothing there") from None


class HidesTheError(Mutant):
    caught_by = "the_error_of_a_source_arrives"

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        try:
            return await self.inner.put(name, body, options=options, if_absent=if_absent)
        except HoldfastError as error:
            raise ConflictError("something", operation="put", store=self.store, name=name) from error


class EndsQuietlyWhenDeleted(Mutant):
    caught_by = "a_reader_outlives_a_delete_or_fails"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with self.inner.get(name, range=range) as reader:

            async def while_there() -> AsyncIterator[bytes]:
                async for chunk in reader.chunks:
                    if not await self.taken(name):
                        return
                    yield chunk

            yield replace(reader, chunks=while_there())


class FollowsTheName(Mutant):
    """Reopens the name for every chunk."""

    caught_by = "a_reader_never_mixes_two_contents"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with self.inner.get(name, range=range) as reader:

            async def reopening() -> AsyncIterator[bytes]:
                offset = reader.span.offset
                while offset < reader.span.end:
                    part = ByteRange(offset, min(offset + (1 << 20), reader.span.end) - 1)
                    async with self.inner.get(name, range=part) as one:
                        chunk = await one.read()
                    offset += len(chunk)
                    yield chunk

            yield replace(reader, chunks=reopening())


class ForgetsToReturnPermits(Mutant):
    """Gives a connection back only when a stream was read to its end."""

    caught_by = "a_reader_may_be_left_early"

    def __init__(self) -> None:
        super().__init__()
        self._pool = asyncio.Semaphore(16)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with self.inner.get(name, range=range) as reader:
            await self._pool.acquire()

            async def returning() -> AsyncIterator[bytes]:
                async for chunk in reader.chunks:
                    yield chunk
                self._pool.release()

            yield replace(reader, chunks=returning())


class SwallowsTheCallersError(Mutant):
    caught_by = "an_error_in_the_reading_block_passes"

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with self.inner.get(name, range=range) as reader:
            try:
                yield reader
            except HoldfastError:
                raise
            except Exception:
                return


class HoldsEverything(Mutant):
    """Does not stream, and does not say so."""

    caught_by = "memory_stays_flat_while_bytes_stream"

    def __init__(self) -> None:
        super().__init__()
        self.inner.in_process = False  # type: ignore[attr-defined]


class ClosesOnlyOnce(Mutant):
    caught_by = "closing_twice_is_harmless"
    _closed = False

    async def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True


class MixesWritersUp(Mutant):
    """Stages every write in one place."""

    caught_by = "many_operations_at_once_do_not_mix"
    _stage = b""

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        self._stage = await body.read()
        await asyncio.sleep(0)
        return await self.inner.put(name, Body.of_bytes(self._stage), options=options, if_absent=if_absent)


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


def _all(kind: type[Mutant]) -> list[type[Mutant]]:
    return [one for sub in kind.__subclasses__() for one in (sub, *_all(sub))]


MUTANTS = _all(Mutant)
