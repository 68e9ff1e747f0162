"""A bounded cache on disk for stores that are far: pieces of blobs, fetched once for all who want them.

Blobs never change, so nothing has to be invalidated. Pieces are of 1 MiB; a read of 4 KiB fetches one, and a read of a
whole blob keeps those that it streams by. A piece is served only while its checksums hold. Whatever goes wrong with the
disk, the store is asked instead. Several processes may share a folder. What the store has deleted may be served until
it is evicted, by processes other than the one that deleted it: names are never used again, so nobody who may not read
a blob knows its name.
"""

from holdfast.layers.cache.folder import Folder
from holdfast.layers.cache.layer import Cache

__all__ = ["Cache", "Folder"]
