"""Settings of backups, and those of services that kept `backup_settings` in their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.config.exposure import Words
from holdfast.config.units import Size

_SIZES: Final = {"max_backup_size_mb": "max_size", "chunk_size_mb": "chunk_size"}
_COMPRESSIONS: Final = {"gz": "gz", "gzip": "gz", "zst": "zst", "zstd": "zst", "none": "none", "": "none"}
_LEAST: Final = 64 << 10


class BackupConfig(BaseModel):
    """What holds for backups that say nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str = Field("", description="the store that backups go to; best one that holds nothing else")
    recipients: Words = Field(
        (),
        description="age public keys (age1…) that backups are encrypted to, parted by commas or spaces; `holdfast backup"
        " keygen` makes one",
    )
    compression: Literal["zst", "gz", "none"] = Field("zst", description="how files are compressed")
    auto_split: bool = Field(
        True, description="write a backup larger than `max_size` in files of `chunk_size`"
    )
    max_size: Size = Field(500 << 20, ge=_LEAST, description="largest backup that is not split")
    chunk_size: Size = Field(100 << 20, ge=_LEAST, description="size of the files of one that is split")


def imported(given: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the settings that a table of `backup_settings` means, by name, and its members that were understood."""
    found: dict[str, Any] = {}
    known: set[str] = set()
    for name, setting in _SIZES.items():
        size = given.get(name)
        if isinstance(size, int | float) and not isinstance(size, bool) and 0 < size < 1 << 40:
            found[setting] = f"{size:g}MB"
            known.add(name)
    if isinstance(given.get("auto_split_backups"), bool):
        found["auto_split"] = given["auto_split_backups"]
        known.add("auto_split_backups")
    compression = given.get("compression")
    if isinstance(compression, str) and compression.lower() in _COMPRESSIONS:
        found["compression"] = _COMPRESSIONS[compression.lower()]
        known.add("compression")
    return found, known
