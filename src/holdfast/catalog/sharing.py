"""Blobs that several rows of `replicas` know: clones of versions are rows, and no bytes are copied.

Such a row is made only beside one that can be read, which is locked meanwhile. So from a blob that only doomed rows know
nobody comes to share any more, and bytes whose last row is doomed are nobody else's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, literal_column, or_, select

from holdfast.catalog.schema import replicas
from holdfast.catalog.statements import constant, text_param

_twin = replicas.alias("twin")
_SAME: Final = (
    _twin.c.store == replicas.c.store,
    _twin.c.blob == replicas.c.blob,
    _twin.c.id != replicas.c.id,
)
_THERE: Any = select(literal_column("1")).select_from(_twin)
#: In a statement over `replicas`: another row knows the same blob.
IS_SHARED: Final = _THERE.where(*_SAME).correlate(replicas).exists()
#: ... and stays when this one goes: it is not doomed, or later.
IS_OUTLIVED: Final = (
    _THERE.where(
        *_SAME,
        or_(
            _twin.c.state != constant("doomed"),
            _twin.c.not_before > replicas.c.not_before,
            and_(_twin.c.not_before == replicas.c.not_before, _twin.c.id > replicas.c.id),
        ),
    )
    .correlate(replicas)
    .exists()
)


def of_same_blob(name: str) -> Any:
    """Return the ids of all rows of the blob that the row with the id `name` knows, that one among them."""
    named, twin = replicas.alias("named"), replicas.alias("twin")
    return (
        select(twin.c.id)
        .select_from(named.join(twin, and_(twin.c.store == named.c.store, twin.c.blob == named.c.blob)))
        .where(named.c.id == text_param(name))
    )
