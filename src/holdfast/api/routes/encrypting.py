"""Keys of encrypted blobs. For operators."""

from __future__ import annotations

from typing import Final

from holdfast.api import encrypting
from holdfast.api.routing import Route

_ENCRYPTION: Final = "/api/v1/encryption"

ENCRYPTING: Final = (
    Route(
        "GET",
        _ENCRYPTION,
        encrypting.show,
        "Show the keys of tenants",
        answers={200: encrypting.EncryptionStatus},
    ),
    Route(
        "POST",
        f"{_ENCRYPTION}/rotate",
        encrypting.rotate,
        "Rotate the key of a tenant, or root keys",
        (),
        encrypting.RotateWish,
        {200: encrypting.RotateAnswer},
    ),
    Route(
        "POST",
        f"{_ENCRYPTION}/shred",
        encrypting.shred,
        "Destroy the key of a tenant",
        (),
        encrypting.ShredWish,
        {200: encrypting.ShredAnswer},
    ),
)
