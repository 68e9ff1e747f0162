"""What a file says of itself in `appProperties`: the blob's name, its generation, its store and its metadata.

A file has at most 30 of them for one client, of at most 124 bytes each with their key. So names and metadata are cut:
`n0`… `n8` together are the name, `m0`… `mh` the metadata as JSON; `k` tells how many of each count, whatever else is
there; `h` is the name's SHA-256, to ask for; `g` the generation; `r` the folder that the store lives in.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import EMPTY

PAIR: Final = 124  #: bytes of a key and its value
MOST: Final = 30  #: properties of one file
MAX_METADATA: Final = 1024  #: bytes of names and values: twice as much has room, for quotes and escapes
_ROOM: Final = PAIR - 2
_DIGITS: Final = string.digits + string.ascii_lowercase
_OTHERS: Final = 4  #: k, h, g, r
_NAME_PIECES: Final = 9  #: 1,024 bytes in pieces of 122


@dataclass(frozen=True, slots=True)
class Label:
    """What a file's properties say."""

    name: str
    generation: int
    root: str
    metadata: Mapping[str, str]


def write(label: Label) -> dict[str, str]:
    """Return the properties that say it.

    Raises:
        InvalidRequestError: there is more metadata than has room.
    """
    try:
        text = msgspec.json.encode(dict(label.metadata)).decode() if label.metadata else ""
    except UnicodeEncodeError:
        raise InvalidRequestError("a metadata value is not valid UTF-8 (it holds a lone surrogate)") from None
    names, metas = _pieces(label.name), _pieces(text)
    if len(names) > _NAME_PIECES or len(metas) > MOST - _OTHERS - _NAME_PIECES:
        raise InvalidRequestError(f"the metadata is too large: about {MAX_METADATA} bytes fit")
    found = {f"n{_DIGITS[at]}": piece for at, piece in enumerate(names)}
    found |= {f"m{_DIGITS[at]}": piece for at, piece in enumerate(metas)}
    found["k"] = f"{len(names)}.{len(metas)}"
    found["h"] = digest(label.name)
    found["g"] = str(label.generation)
    found["r"] = label.root
    return found


def read(properties: Mapping[str, str]) -> Label | None:
    """Return what the properties say; None when they are not ours, or not whole."""
    try:
        names, _, metas = properties["k"].partition(".")
        name = "".join(properties[f"n{_DIGITS[at]}"] for at in range(int(names)))
        text = "".join(properties[f"m{_DIGITS[at]}"] for at in range(int(metas)))
        metadata = msgspec.json.decode(text, type=dict[str, str]) if text else EMPTY
        generation = int(properties["g"])
        if properties["h"] != digest(name):
            return None
        return Label(name, generation, properties["r"], metadata)
    except (KeyError, ValueError, IndexError, msgspec.DecodeError):
        return None


def digest(name: str) -> str:
    """Return what stands for a name in a query."""
    return sha256(name.encode()).hexdigest()


def _pieces(text: str) -> list[str]:
    """Return `text` cut into pieces of at most 122 bytes, between characters."""
    if text.isascii():
        return [text[at : at + _ROOM] for at in range(0, len(text), _ROOM)]
    found, held, size = [], "", 0
    for char in text:
        length = len(char.encode())
        if size + length > _ROOM:
            found.append(held)
            held, size = "", 0
        held += char
        size += length
    return [*found, held]
