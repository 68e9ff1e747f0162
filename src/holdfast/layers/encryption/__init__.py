"""Encryption before bytes leave this process: plain blobs come in, blobs that only the holder of keys can read go out.

`Encryption` is the layer; `floe` is the format of the content, `envelope` what stands before it. Where keys come from is
`core.keyring.KeyRing`, which the engine keeps in the catalog.
"""

from holdfast.layers.encryption.layer import Encryption as Encryption
from holdfast.layers.encryption.layer import opened_size as opened_size
