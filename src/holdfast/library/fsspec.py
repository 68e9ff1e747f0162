"""The fsspec filesystem `holdfast://BUCKET/KEY`: for pandas, pyarrow, dask, universal_pathlib and all that use fsspec.

    fsspec.filesystem("holdfast", target="https://files.example.com", token=…)
    pandas.read_csv("holdfast://tables/2024/prices.csv", storage_options={"target": "/srv/holdfast"})

`target`, `token` and `ca_file` are those of `holdfast.open`; without them the variables and the settings decide. The
first folder of a path is a bucket. Other folders are there as long as something is in them. Nothing is cached.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from holdfast.core import errors
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.types import Bucket, ByteRange, Version
from holdfast.library.fsspec_file import IF_ABSENT, HoldfastFile, told
from holdfast.library.opening import opener
from holdfast.library.sync import Client

_FOUND_BY: Final = "/"


class HoldfastFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Objects as files, folders and buckets; `client` is the `holdfast.Client` underneath."""

    protocol = "holdfast"
    root_marker = ""

    def __init__(
        self,
        target: str | os.PathLike[str] | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(target=target, token=token, ca_file=ca_file, **options)
        with told(str(target or "holdfast://")):
            self.client = Client(opener(target, token=token, ca_file=ca_file))

    def close(self) -> None:
        """Close the client underneath; the filesystem is not used again."""
        self.client.close()
        self.clear_instance_cache()

    # -- looking ------------------------------------------------------------------------------------------------
    def info(self, path: str, **how: Any) -> dict[str, Any]:
        """Return name, size, type and, of an object, times, etag, version and what else is known of it."""
        bucket, key = self._split(path)
        if not bucket:
            return _folder("")
        with told(path):
            if not key:
                return _bucket(self.client.bucket(bucket).bucket)
            try:
                return _file(self.client.head(bucket, key))
            except errors.NotFoundError:
                page = self.client.list_page(bucket, prefix=f"{key}/", limit=1)
                if page.items or page.prefixes:
                    return _folder(f"{bucket}/{key}")
                raise

    def ls(self, path: str, detail: bool = True, **how: Any) -> list[Any]:
        """Return what is directly in a folder, or the object itself."""
        bucket, key = self._split(path)
        with told(path):
            if not bucket:
                found = [_bucket(one) for one, _ in self.client.buckets()]
            else:
                found = list(self._folder(bucket, f"{key}/" if key else ""))
                if not found:
                    own = self.info(path)
                    found = [own] if own["type"] == "file" else []
        found.sort(key=lambda entry: str(entry["name"]))
        return found if detail else [entry["name"] for entry in found]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **how: Any
    ) -> Any:
        """Return all objects below a folder: one listing by keys, unless a depth or the folders too are wanted."""
        bucket, key = self._split(path)
        if maxdepth is not None or withdirs or not bucket:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **how)
        prefix = f"{key}/{how.get('prefix', '')}" if key else how.get("prefix", "")
        with told(path):
            found = {}
            try:
                for item in self.client.list(bucket, prefix=prefix):
                    if not item.ref.key.endswith("/"):
                        found[f"{bucket}/{item.ref.key}"] = _file(item)
                if not found and key:
                    found = {f"{bucket}/{key}": _file(self.client.head(bucket, key))}
            except errors.NotFoundError:
                found = {}
        return found if detail else sorted(found)

    def created(self, path: str) -> datetime:
        """Return when the content at `path` was stored."""
        found: datetime = self.info(path)["created"]
        return found

    modified = created

    def checksum(self, path: str) -> int:
        """Return a number that changes whenever the content does."""
        return hash(self.info(path).get("version_id", path))

    def sign(self, path: str, expiration: int = 100, **how: Any) -> str:
        """Return a URL by which anybody may read the object for `expiration` seconds."""
        bucket, key = self._object(path)
        with told(path):
            return self.client.presign(bucket, key, expires_in=expiration).url

    # -- folders ------------------------------------------------------------------------------------------------
    def mkdir(self, path: str, create_parents: bool = True, **how: Any) -> None:
        """Make a bucket, or make sure that there is one: folders need not be made."""
        bucket, key = self._split(path)
        if not bucket:
            return
        with told(path):
            if not key:
                self.client.create_bucket(bucket)
            elif create_parents:
                self._ensure(bucket)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make sure that the bucket of `path` is there; `FileExistsError` for a bucket that is, unless `exist_ok`."""
        bucket, key = self._split(path)
        if bucket:
            with told(path):
                if exist_ok or key:
                    self._ensure(bucket)
                else:
                    self.client.create_bucket(bucket)

    def rmdir(self, path: str) -> None:
        """Remove an empty bucket; other folders are not there when nothing is in them."""
        bucket, key = self._split(path)
        with told(path):
            if key and self.ls(path):
                raise OSError(f"the folder {path} is not empty")
            if not key:
                self.client.delete_bucket(bucket)

    # -- objects ------------------------------------------------------------------------------------------------
    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **how: Any) -> bytes:
        """Return the bytes of an object, or from `start` to just before `end`; negative ones count from the end."""
        bucket, key = self._object(path)
        with told(path):
            if start is None and end is None:
                return self.client.get(bucket, key)
            size = self.client.head(bucket, key).size
            first, last = _place(start, size, 0), _place(end, size, size)
            return self.client.get(bucket, key, range=ByteRange(first, last - 1)) if first < last else b""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **how: Any) -> None:
        """Store `value`; with `mode="create"` only where nothing is."""
        bucket, key = self._object(path)
        with told(path):
            self.client.put(
                bucket, key, bytes(value), conditions=_conditions(mode == "create"), **_about(how)
            )

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **how: Any
    ) -> None:
        """Store a local file; large ones go in parts."""
        if Path(lpath).is_dir():
            return
        bucket, key = self._object(rpath)
        callback.set_size(Path(lpath).stat().st_size)
        with told(rpath):
            self.client.put_file(
                bucket,
                key,
                lpath,
                conditions=_conditions(mode == "create"),
                progress=callback.relative_update,
                **_about(how),
            )

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **how: Any
    ) -> None:
        """Copy an object to a local file or an open one; a folder becomes a local folder."""
        target = outfile if outfile is not None else lpath
        if not hasattr(target, "write"):
            if self.isdir(rpath):
                Path(target).mkdir(parents=True, exist_ok=True)
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        bucket, key = self._object(rpath)
        with told(rpath), _opened(target) as file, self.client.stream(bucket, key) as download:
            callback.set_size(download.version.size)
            for chunk in download:
                file.write(chunk)
                callback.relative_update(len(chunk))

    def cp_file(self, path1: str, path2: str, **how: Any) -> None:
        """Copy an object without its bytes passing through here."""
        source = self._split(path1)
        with told(path1):
            try:
                self.client.copy(source, self._object(path2))
            except (errors.NotFoundError, errors.InvalidRequestError):
                if not self.isdir(path1):
                    raise

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove objects, and with `recursive` all that is below a folder. A bucket itself stays (see `rmdir`)."""
        doomed: dict[str, list[str]] = {}
        for root in self.expand_path(path, recursive=False):
            bucket, key = self._split(root)
            if self.isfile(root):
                doomed.setdefault(bucket, []).append(key)
            elif not recursive:
                raise IsADirectoryError(root)
            else:
                doomed.setdefault(bucket, []).extend(self._below(root, bucket, key, maxdepth))
        for bucket, keys in doomed.items():
            with told(bucket):
                report = self.client.delete_many(bucket, keys)
            for failure in report.failures:
                raise OSError(f"{failure.bucket}/{failure.key}: {failure.detail}")

    def rm_file(self, path: str) -> None:
        """Remove one object."""
        bucket, key = self._object(path)
        with told(path):
            self.client.delete(bucket, key)

    _rm = rm_file

    def touch(self, path: str, truncate: bool = True, **how: Any) -> None:
        """Store an empty object; without `truncate` only where nothing is."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"", **how)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **how: Any,
    ) -> HoldfastFile:
        self._object(path)
        if "x" in mode and self.exists(path):
            raise FileExistsError(path)
        return HoldfastFile(
            self,
            path,
            mode,
            block_size or "default",
            autocommit=autocommit,
            cache_options=cache_options,
            **how,
        )

    # -----------------------------------------------------------------------------------------------------------
    def _split(self, path: str) -> tuple[str, str]:
        bucket, _, key = str(self._strip_protocol(path)).lstrip("/").partition("/")
        return bucket, key

    def _object(self, path: str) -> tuple[str, str]:
        """Return bucket and key of what must be an object."""
        bucket, key = self._split(path)
        if not bucket or not key:
            raise IsADirectoryError(f"{path!r} is a bucket; objects are below it, as holdfast://bucket/key")
        return bucket, key

    def _folder(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self.client.pages(bucket, prefix=prefix, delimiter=_FOUND_BY):
            yield from (_folder(f"{bucket}/{folder.rstrip('/')}") for folder in page.prefixes)
            yield from (_file(item) for item in page.items if not item.ref.key.endswith("/"))

    def _below(self, root: str, bucket: str, key: str, maxdepth: int | None) -> list[str]:
        """Return the keys below a folder, those that mark folders included."""
        if maxdepth is not None:
            return [self._split(name)[1] for name in self.find(root, maxdepth=maxdepth)]
        with told(root):
            return [item.ref.key for item in self.client.list(bucket, prefix=f"{key}/" if key else "")]

    def _ensure(self, bucket: str) -> None:
        try:
            self.client.bucket(bucket)
        except errors.NotFoundError:
            self.client.create_bucket(bucket)


@contextmanager
def _opened(target: Any) -> Iterator[Any]:
    if hasattr(target, "write"):
        yield target
        return
    with Path(target).open("wb") as file:
        yield file


def _place(value: int | None, size: int, default: int) -> int:
    if value is None:
        return default
    return max(0, size + value) if value < 0 else min(value, size)


def _conditions(create: bool) -> Preconditions:
    return IF_ABSENT if create else NO_CONDITIONS


def _about(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be said of a new object."""
    return {name: how[name] for name in ("content_type", "metadata", "tags") if how.get(name) is not None}


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _bucket(bucket: Bucket) -> dict[str, Any]:
    return {**_folder(bucket.name), "created": _when(bucket.created)}


def _file(version: Version) -> dict[str, Any]:
    return {
        "name": f"{version.ref.bucket}/{version.ref.key}",
        "size": version.size,
        "type": "file",
        "created": _when(version.created),
        "mtime": _when(version.created),
        "etag": version.etag,
        "version_id": version.id,
        "content_type": version.content_type,
    }


def _when(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)
