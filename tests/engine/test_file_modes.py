"""The catalog's file holds the secret: nobody else may read it, whoever made the directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.catalog import open_catalog
from tests.engine.catalog.support import run

pytestmark = pytest.mark.engine


def modes(folder: Path) -> dict[str, int]:
    names = ("catalog.db", "catalog.db-wal", "catalog.db-shm")
    return {name: stat.S_IMODE((folder / name).stat().st_mode) for name in names}


def test_files_of_the_catalog_are_private(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0o022)

    async def story() -> None:
        catalog = await open_catalog(f"sqlite:///{tmp_path}/catalog.db", upgrade=True)
        try:
            await catalog.create_tenant("t" + str(len(await catalog.tenants())))
            assert modes(tmp_path) == dict.fromkeys(modes(tmp_path), 0o600)
        finally:
            await catalog.close()

    try:
        run(story())
        assert not caplog.records
        (tmp_path / "catalog.db").chmod(0o644)
        run(story())
    finally:
        os.umask(before)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/catalog.db could be read by others and is now only readable by its owner"
    ]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
