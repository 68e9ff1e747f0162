"""Backups that there are. For operators."""

from __future__ import annotations

from typing import Final

from holdfast.api import backups
from holdfast.api.routing import Param, Route

_STORE: Final = Param("store", "the store that holds them, else `backup.store` of the configuration")

BACKUPS: Final = (
    Route(
        "GET",
        "/api/v1/backups",
        backups.list_backups,
        "List backups, the oldest first; for operators",
        (_STORE,),
        answers={200: backups.BackupList},
    ),
    Route(
        "GET",
        "/api/v1/backups/{set_id}",
        backups.show_backup,
        "Show what is known of a backup without opening it; for operators",
        (_STORE,),
        answers={200: backups.BackupInfo},
    ),
)
