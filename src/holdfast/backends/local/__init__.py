"""Blobs as files below one folder of this machine.

Comes in: `LocalSettings`. Goes out: a `Backend` with RANGE, IF_ABSENT, COPY, FILE, and METADATA where the file system
keeps extended attributes. It copies from other folders of this machine by itself.

Promises: a put that has returned survives the loss of power (bytes, then name, then every folder that was made are
fsynced, in that order); an fsync that fails is never repeated and its blob never shown; no name and no symbolic link
leads out of the folder; a write that dies leaves nothing that a reader could see. `paths` tells how names look on disk.
"""

from holdfast.backends.local.backend import LocalBackend, open_local
from holdfast.backends.local.settings import LocalSettings

__all__ = ["LocalBackend", "LocalSettings", "open_local"]
