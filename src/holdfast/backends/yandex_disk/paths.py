"""How a blob's name looks in the Disk, and back.

A folder is called as its segment is; a file has `^` in front. So the blob `a` (file `^a`) and the blob `a/b` (file `^b`
in folder `a`) live beside each other, and extensions stay. The marks are outside the grammar of blob names, so nothing
clashes, and they are characters that every desktop client can keep:

* `^segment`: a blob;
* `{first-254-characters/^last`: a blob whose segment has 255 of them, which with the mark would be one too many;
* `#…`: being written, or left over from a write that died; never listed. It has no extension, so that the service
  cannot guess a type that it would slow down.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from holdfast.core.names import check_blob_name

BLOB: Final = "^"
LONG: Final = "{"
TEMPORARY: Final = "#"
MAX_SEGMENT: Final = 255
MAX_PATH: Final = 32_760
_ROOM: Final = 254


class Paths:
    """Paths below `root`, which is `disk:/…` or `app:/…`: a name with a colon is taken only behind such a beginning."""

    def __init__(self, root: str) -> None:
        self.root = root

    def folder(self, name: str) -> str:
        """Return the path of the folder `name`; "" is the root."""
        if not name:
            return self.root
        return f"{self.root}{name}" if self.root.endswith("/") else f"{self.root}/{name}"

    def blob(self, name: str) -> str:
        """Return the path of the blob `name`, or raise `InvalidRequestError`."""
        folder, _, segment = check_blob_name(name).rpartition("/")
        if len(segment) <= _ROOM:
            return join(self.folder(folder), BLOB + segment)
        return join(self.folder(folder), LONG + segment[:_ROOM], BLOB + segment[_ROOM:])

    def temporary(self, name: str, chance: str) -> str:
        """Return a path beside the blob `name`, for a try that is told from others by `chance`."""
        return join(parent(self.blob(name)), f"{self.left_over(name)}{chance}")

    def left_over(self, name: str) -> str:
        """Return how the names of all that puts of `name` may leave begin."""
        return f"{TEMPORARY}{sha256(name.encode()).hexdigest()[:24]}-"


def join(folder: str, *names: str) -> str:
    """Return the path of what is called so in `folder`."""
    return "/".join((folder.rstrip("/"), *names))


def parent(path: str) -> str:
    """Return the folder that holds `path`; of a root itself, the root."""
    start, _, rest = path.partition("/")
    above = rest.rpartition("/")[0]
    return f"{start}/{above}"
