"""How a blob's name looks on disk, and back.

A folder is called as its segment is; a file has `%` in front. So the blob `a` (file `%a`) and the blob `a/b` (file `%b`
in folder `a`) live beside each other, extensions stay, and what is not ours is easily told. The marks are outside the
grammar of blob names, so nothing clashes:

* `%segment`: a blob;
* `^first-254-bytes/%last`: a blob whose segment has 255 bytes, which with the mark would be longer than a file name may be;
* `#…`: being written, or left over from a write that died; never listed.
"""

from __future__ import annotations

BLOB = "%"
LONG = "^"
TEMPORARY = "#"
_ROOM = 254


def locate(name: str) -> tuple[str, str]:
    """Return the folder (relative to the root, "" for the root itself) and the file name of the blob `name`."""
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
