"""A Django storage over Holdfast: `STORAGES = {"default": {"BACKEND": "holdfast.library.django.HoldfastStorage", …}}`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.conf import settings as django_settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible
from django.utils.timezone import make_naive

from holdfast.core.conditions import NO_CONDITIONS
from holdfast.core.errors import NotFoundError, PreconditionFailedError
from holdfast.library.fsspec import HoldfastFileSystem
from holdfast.library.fsspec_file import IF_ABSENT


@deconstructible(path="holdfast.library.django.HoldfastStorage")
class HoldfastStorage(Storage):  # type: ignore[misc]
    """Files as objects of one bucket.

    Args:
        bucket: it is made when the first file is saved, if it is not there.
        target, token, ca_file: see `holdfast.open`; without them the variables and the settings decide.
        location: folder in the bucket below which all names are.
        overwrite: a file of the same name is replaced; else the new one gets another name.
        expires: seconds that a URL of a file holds.
        public_base: where files of a public bucket are read without a signature, as
            `https://files.example.com/api/v1/objects/media`.
    """

    def __init__(
        self,
        bucket: str = "media",
        target: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        location: str = "",
        overwrite: bool = False,
        expires: int = 3600,
        public_base: str = "",
    ) -> None:
        self.bucket, self.location = bucket, location.strip("/")
        self.overwrite, self.expires, self.public_base = overwrite, expires, public_base.rstrip("/")
        self._how = {"target": target, "token": token, "ca_file": ca_file}

    @property
    def files(self) -> HoldfastFileSystem:
        """All objects as files; opened when they are first needed, once for each process."""
        return HoldfastFileSystem(**self._how)

    def _open(self, name: str, mode: str = "rb") -> File:
        how = {} if "b" in mode else {"encoding": "utf-8"}
        return File(self.files.open(self._path(name), mode, **how), name)

    def _save(self, name: str, content: Any) -> str:
        kind, client = getattr(content, "content_type", None), self.files.client
        conditions = NO_CONDITIONS if self.overwrite else IF_ABSENT
        while True:
            data, key = content.chunks(), self.key(name)
            try:
                client.put(self.bucket, key, data, content_type=kind, conditions=conditions)
            except NotFoundError:
                self.files.makedirs(self.bucket, exist_ok=True)
            except PreconditionFailedError:  # somebody took the name a moment ago
                name = self.get_available_name(name)
            else:
                return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a name that is free; with `overwrite` the same."""
        if self.overwrite:
            return name
        free: str = super().get_available_name(name, max_length)
        return free

    def key(self, name: str) -> str:
        """Return the key of a file; `SuspiciousFileOperation` for a name that leaves the location."""
        key = posixpath.normpath(posixpath.join("/", self.location, name.replace("\\", "/").lstrip("/")))[1:]
        inside = f"{self.location}/" if self.location else ""
        if not f"{key}/".startswith(inside) or ".." in name.replace("\\", "/").split("/"):
            raise SuspiciousFileOperation(f"the name {name!r} leads out of the storage")
        return key

    def delete(self, name: str) -> None:
        """Remove a file; what is not there is a success."""
        self.files.rm_file(self._path(name))

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return bool(self.files.isfile(self._path(name)))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of folders and files in a folder."""
        folders: list[str] = []
        names: list[str] = []
        for entry in self.files.ls(self._path(path)):
            (folders if entry["type"] == "directory" else names).append(posixpath.basename(entry["name"]))
        return folders, names

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""
        return int(self.files.info(self._path(name))["size"])

    def get_modified_time(self, name: str) -> datetime:
        """Return when a file was stored, aware of its zone where Django is."""
        when = self.files.modified(self._path(name))
        found: datetime = when if django_settings.USE_TZ else make_naive(when)
        return found

    get_created_time = get_modified_time

    def url(self, name: str, parameters: Mapping[str, Any] | None = None, expire: int | None = None) -> str:
        """Return a URL by which a browser reads the file: signed, unless the bucket is public."""
        key = self.key(name)
        if self.public_base:
            return f"{self.public_base}/{quote(key, safe='/~')}"
        return self.files.sign(self._path(name), expire or self.expires)

    def _path(self, name: str) -> str:
        return f"{self.bucket}/{self.key(name)}".rstrip("/")
