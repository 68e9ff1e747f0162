"""What can be said about a local store."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LocalSettings(BaseModel):
    """A folder and how carefully it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="The folder that holds the blobs, and nothing else.")
    create: bool = Field(
        default=False,
        description="Make the folder when it is not there. Off, so that a disk that is not mounted is noticed.",
    )
    fsync: bool = Field(
        default=True, description="Wait for the disk. Off, acknowledged blobs may be lost with the power."
    )
    threads: int = Field(default=16, ge=1, le=256, description="How many calls may be at the disk at once.")

    @field_validator("path")
    @classmethod
    def _usable(cls, value: Path) -> Path:
        try:
            usable = b"\0" not in os.fsencode(value)
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("this is no path: it has a character that no path can have")
        return value
