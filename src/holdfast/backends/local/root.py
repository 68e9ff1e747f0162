"""The folder of a store: opening it, and finding out what its file system can do."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.backends.local.kernel import Kernel
from holdfast.backends.local.paths import TEMPORARY
from holdfast.backends.local.settings import LocalSettings
from holdfast.core.errors import ConfigError

_MODE = 0o750


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the file system can do."""

    unnamed: bool  #: files without a name (O_TMPFILE) that can be given one later
    attributes: bool  #: extended attributes, which hold the metadata of blobs
    links: bool  #: hard links


def open_root(store: str, settings: LocalSettings) -> int:
    """Return a descriptor of the store's folder, made (durably) when missing and `create` is on.

    Raises:
        ConfigError: it is not there, no folder, or not ours to enter.
    """
    path = settings.path.absolute()
    try:
        if settings.create:
            _make(path)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(
            f"store {store}: the folder {path} is not there; mount its disk, or set `create` to make it"
        ) from None
    except OSError as error:
        raise ConfigError(f"store {store}: the folder {path} cannot be opened ({_said(error)})") from error
    except ValueError:
        raise ConfigError(f"store {store}: the path {str(path)!r} can be no folder") from None


def probe(root: int, kernel: Kernel) -> Abilities:
    """Return what the file system of `root` can do, found out by doing it; a read-only one is believed to do all.

    Raises:
        ConfigError: it takes no files.
    """
    leaf = f"{TEMPORARY}probe-{kernel.temporary()}"
    try:
        unnamed = _try_unnamed(root, kernel, leaf)
        return Abilities(
            unnamed, _try_attributes(root, kernel, leaf), unnamed or _try_links(root, kernel, leaf)
        )
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            return Abilities(True, True, True)
        raise ConfigError(f"no files can be made in the store's folder ({_said(error)})") from error


def _said(error: OSError) -> str:
    return f"{errno.errorcode.get(error.errno or 0, '?')}: {error.strerror}"


def _try_unnamed(root: int, kernel: Kernel, leaf: str) -> bool:
    try:
        fd = kernel.open_unnamed(root, 0o600)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS):
            return False
        raise
    try:
        kernel.link_unnamed(fd, root, leaf)
        os.unlink(leaf, dir_fd=root)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _try_attributes(root: int, kernel: Kernel, leaf: str) -> bool:
    fd = kernel.create(root, leaf, 0o600)
    try:
        kernel.set_attribute(fd, "user.holdfast.probe", b"1")
    except OSError:
        return False
    finally:
        os.close(fd)
        os.unlink(leaf, dir_fd=root)
    return True


def _try_links(root: int, kernel: Kernel, leaf: str) -> bool:
    os.close(kernel.create(root, leaf, 0o600))
    try:
        kernel.link(root, leaf, root, leaf + "-2")
        os.unlink(leaf + "-2", dir_fd=root)
    except OSError:
        return False
    finally:
        os.unlink(leaf, dir_fd=root)
    return True


def _make(path: Path) -> None:
    """Make `path` and what is missing above it, each fsynced into its parent."""
    if path.is_dir():
        return
    _make(path.parent)
    path.mkdir(_MODE, exist_ok=True)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
