"""Encryption to age recipients: public keys seal, identities open. The stock `age` opens our files too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyrage

from holdfast.core.errors import ConfigError, CorruptedError, InvalidRequestError

_MARKED: Final = "AGE-SECRET-KEY-1"
_LARGEST: Final = 1 << 20  #: bytes of a file of identities

Identities = Sequence[Any]  # pyrage.x25519.Identity; its stubs do not say what decrypt takes


def check_recipients(given: Iterable[str]) -> tuple[str, ...]:
    """Return the recipients, each once; `InvalidRequestError` for what is no public key of age."""
    found = tuple(dict.fromkeys(one.strip() for one in given))
    for one in found:
        try:
            pyrage.x25519.Recipient.from_str(one)
        except pyrage.RecipientError:
            shown = "a secret key" if one.upper().startswith(_MARKED) else repr(one[:80])
            raise InvalidRequestError(f"{shown} is no recipient; one begins with age1…") from None
    return found


def new_identity() -> tuple[str, str]:
    """Return a fresh identity, which is secret, and its recipient, which is not."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(identity: str) -> str:
    """Return the recipient that `identity` opens for."""
    return str(pyrage.x25519.Identity.from_str(identity).to_public())


def identities_of(text: str, source: str) -> Identities:
    """Return the identities in a file of age: one per line, `#` before what is said about them.

    Raises:
        ConfigError: there is none, or a line is none; the line is not shown.
    """
    found: list[Any] = []
    for number, line in enumerate(
        text.removeprefix("\ufeff").splitlines(), 1
    ):  # some editors begin with a mark
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found.append(pyrage.x25519.Identity.from_str(line.strip()))
        except pyrage.IdentityError:
            raise ConfigError(f"{source}: line {number} is no age identity ({_MARKED}…)") from None
    if not found:
        raise ConfigError(f"{source} holds no age identity ({_MARKED}…)")
    return found


def read_identities(path: str) -> Identities:
    """Return the identities in the file at `path`; `ConfigError` as `identities_of`, or when it cannot be read."""
    try:
        with Path(path).expanduser().open("rb") as file:
            text = file.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"the identity file {path!r:.300} cannot be read where the job runs (on the server, if there is one): {why}"
        ) from None
    return identities_of(text, path)


def seal(plain: BinaryIO, sealed: BinaryIO, recipients: Sequence[str]) -> None:
    """Write what `plain` holds to `sealed`, encrypted to each of `recipients`; memory stays flat."""
    pyrage.encrypt_io(plain, sealed, [pyrage.x25519.Recipient.from_str(one) for one in recipients])


def unseal(sealed: BinaryIO, plain: BinaryIO, identities: Identities, name: str) -> None:
    """Write what `sealed` holds to `plain`.

    Raises:
        InvalidRequestError: none of the identities opens it. CorruptedError: it is damaged.
    """
    if not identities:
        raise InvalidRequestError(f"{name} is encrypted: give the file with the identity that opens it")
    try:
        pyrage.decrypt_io(sealed, plain, list(identities))
    except pyrage.DecryptError as error:
        if "no matching keys" in str(error).lower():
            raise InvalidRequestError(f"the identity is not one that {name} was encrypted to") from None
        raise CorruptedError(f"{name} is damaged: {error}") from None
    except OSError as error:
        if error.errno is not None:  # the disk, and not what was read
            raise
        raise CorruptedError(f"{name} is damaged: {error}") from None
