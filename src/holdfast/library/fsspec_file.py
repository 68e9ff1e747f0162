"""An open file of the fsspec filesystem, and the errors of Holdfast as Python's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from fsspec.spec import AbstractBufferedFile

from holdfast.core import errors
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.types import ByteRange, Part, Upload

IF_ABSENT: Final = Preconditions(if_none_match=("*",))


@contextmanager
def told(path: str) -> Iterator[None]:
    """Raise Python's own errors for ours: `FileNotFoundError`, `PermissionError`, `FileExistsError`, else `OSError`."""
    try:
        yield
    except errors.NotFoundError as error:
        raise FileNotFoundError(f"{path}: {error.message}") from error
    except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
        raise PermissionError(f"{path}: {error.message}") from error
    except (errors.AlreadyExistsError, errors.PreconditionFailedError) as error:
        raise FileExistsError(f"{path}: {error.message}") from error
    except errors.HoldfastError as error:
        raise OSError(f"{path}: {error.message}") from error


class HoldfastFile(AbstractBufferedFile):  # type: ignore[misc]
    """An object being read, always the version that was opened; or one being written, which is visible when closed.

    A block is written as a part; what fits into one block goes in a single request. Left by an exception, nothing of
    what was written becomes visible.
    """

    _closed: bool

    def __init__(self, fs: Any, path: str, mode: str = "rb", block_size: Any = "default", **how: Any) -> None:
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._whole: bytes | None = None
        self._bucket, self._key = fs._split(path)
        super().__init__(fs, path, mode, block_size, **how)
        if mode == "ab" and fs.exists(path):
            with told(path), fs.client.stream(self._bucket, self._key) as download:
                for chunk in download:
                    self.write(chunk)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        with told(self.path):
            found: bytes = self.fs.client.get(
                self._bucket,
                self._key,
                version_id=self.details["version_id"],
                range=ByteRange(start, end - 1),
            )
            return found

    def _initiate_upload(self) -> None:
        if self.tell() < self.blocksize:
            return  # closed before a block was full
        with told(self.path):
            self._upload = self.fs.client.create_upload(
                self._bucket, self._key, content_type=self.kwargs.get("content_type")
            )

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        if self._upload is None:
            self._whole = data
        elif data:
            with told(self.path):
                number = len(self._parts) + 1
                part = self.fs.client.put_part(self._bucket, self._key, self._upload.id, number, data)
            self._parts.append(part)
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Make what was written visible."""
        conditions = IF_ABSENT if self.mode == "xb" else NO_CONDITIONS
        client = self.fs.client
        with told(self.path):
            if self._upload is not None:
                client.complete_upload(
                    self._bucket, self._key, self._upload.id, self._parts, conditions=conditions
                )
            elif self._whole is not None:
                client.put(
                    self._bucket,
                    self._key,
                    self._whole,
                    conditions=conditions,
                    content_type=self.kwargs.get("content_type"),
                )
        self._upload = self._whole = None

    def discard(self) -> None:
        """Give up what was written."""
        upload, self._upload, self._whole = self._upload, None, None
        if upload is not None:
            with told(self.path):
                self.fs.client.abort_upload(self._bucket, self._key, upload.id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self.mode != "rb" and not self._closed:
            self.discard()
            self._closed = True
            return
        self.close()
