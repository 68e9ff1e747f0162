"""Where a client's token comes from."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.core.errors import ConfigError


def find_token(token: str | None = None, token_file: Path | None = None) -> str | None:
    """Return `token`, else what `token_file` holds, else `HOLDFAST_TOKEN`, else what `HOLDFAST_TOKEN_FILE` names.

    Raises:
        ConfigError: the file cannot be read or is empty; its content is never shown.
    """
    if token:
        return token
    if token_file is not None:
        return _read(token_file)
    if given := os.environ.get("HOLDFAST_TOKEN"):
        return given
    named = os.environ.get("HOLDFAST_TOKEN_FILE")
    return _read(Path(named)) if named else None


def _read(path: Path) -> str:
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the token file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"the token file {path} does not hold a token") from None
    if not text or "\n" in text:
        raise ConfigError(f"the token file {path} must hold one token on one line")
    return text
