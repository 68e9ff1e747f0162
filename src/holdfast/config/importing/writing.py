"""An imported configuration on disk: the file, and each secret in a file of its own beside it."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.config.importing.document import Imported, file_of
from holdfast.core.errors import AlreadyExistsError, ConfigError


def write(made: Imported, path: Path, *, with_secrets: bool = False, replace: bool = False) -> list[Path]:
    """Write the file and its secrets, open to nobody but their owner, and return what was written.

    Raises:
        AlreadyExistsError: one of them is there, and is not to be replaced. ConfigError: it cannot be written.
    """
    folder = path.resolve().parent
    kept = made.apart | ({} if with_secrets else made.secrets)
    files = {name: folder / file_of(name) for name in kept}
    if len(set(files.values())) < len(files):
        raise ConfigError("two secrets would share one file; rename one of the stores or companies")
    for there in (path, *files.values()):
        if there.exists() and not replace:
            raise AlreadyExistsError(f"{there} is there already; choose another name, or say --force")
    text = made.text(files={name: str(file) for name, file in files.items()}, with_secrets=with_secrets)
    try:
        for name, file in files.items():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            _write(file, kept[name] + "\n")
        _write(path, text)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return [path, *files.values()]


def _write(path: Path, text: str) -> None:
    """Replace a file whole, readable by its owner alone from the first moment."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
