"""How a blob's name looks on disk, and back.

A folder is called as its segment is; a file has `%` in front. So the blob `a` (file `%a`) and the blob `a/b` (file `%b`
in folder `a`) live beside each other, extensions stay, and what is not ours is easily told. The marks are outside the
grammar of blob names, so nothing clashes:

* `%segment`: a blob;
* `^first-254-bytes/%last`: a blob whose segment has 255 bytes, which with the mark would be longer than a file name may be;
* `#…`: being written, or left over from a write that died; never listed.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.core.adopted import is_foreign, parse_foreign
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import check_blob_name, is_minted

BLOB = "%"
LONG = "^"
TEMPORARY = "#"
_ROOM = 254


def locate(name: str) -> tuple[str, str]:
    """Return the folder (relative to the root, "" for the root itself) and the file name of the blob `name`.

    What others wrote (see `core.adopted`) lies where it says.
    """
    if is_foreign(name):
        return _foreign(name)
    folder, _, segment = name.rpartition("/")
    if len(segment) > _ROOM:
        folder = f"{folder}/{LONG}{segment[:_ROOM]}" if folder else LONG + segment[:_ROOM]
        segment = segment[_ROOM:]
    return folder, BLOB + segment


def path_of(name: str) -> str:
    """Return the path of the blob `name`, relative to the root."""
    folder, leaf = locate(name)
    return f"{folder}/{leaf}" if folder else leaf


def parent(folder: str) -> str:
    """Return the folder that holds `folder`; "" is the root."""
    return folder.rpartition("/")[0]


def check_name(name: str) -> str:
    """Return `name` when a blob, ours or somebody else's, may have it."""
    if is_foreign(name):
        _foreign(name)
        return name
    return check_blob_name(name)


_OURS: Final = re.compile(rf"{TEMPORARY}(?:tidied|[0-9a-f]{{16}}|probe-.*)")


def is_ours(file: str) -> bool:
    """Tell whether a file of that name was made by this driver, and not by whoever else uses the folder."""
    return bool(_OURS.fullmatch(file)) or (file.startswith(BLOB) and is_minted(file[1:]))


def _foreign(name: str) -> tuple[str, str]:
    key = parse_foreign(name).key
    segments = key.split("/")
    bad = any(segment in ("", ".", "..") or is_ours(segment) or "\0" in segment for segment in segments)
    try:
        key.encode()
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise InvalidRequestError(f"{key[:80]!r} is no path of a file that could be adopted", name=name)
    folder, _, leaf = key.rpartition("/")
    return folder, leaf
