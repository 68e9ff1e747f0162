"""A start with nothing but the variables of hybrid storage: the buckets are there, and contents lie where they belong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.app import _look_around, local_principal, open_engine
from holdfast.config import legacy, load
from holdfast.core.body import Body
from holdfast.core.types import ObjectRef
from holdfast.engine.executions import NewArtifact
from holdfast.policy.artifacts import KINDS
from tests.helpers import blobs_on_disk, noise, run

pytestmark = pytest.mark.doors


def test_every_variable_of_hybrid_storage_has_its_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name in legacy.VARIABLES or name.startswith("HOLDFAST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBJECT_STORAGE_ENABLED", "true")
    monkeypatch.setenv("OBJECT_STORAGE_SIZE_THRESHOLD", "64KB")
    monkeypatch.setenv("OBJECT_STORAGE_BUCKET_PREFIX", "acme")
    settings = load(None, data=tmp_path / "data")
    disk = tmp_path / "data" / "objects"

    async def story() -> None:
        for _ in range(2):  # a second start finds them there
            engine = await open_engine(settings)
            try:
                await _look_around(engine, settings, lambda text: None)
                session = engine.session(local_principal(settings))
                made = {bucket.name: bucket for bucket, _ in await session.buckets()}
                assert sorted(made) == sorted(f"acme-{kind}" for kind in KINDS)
                for name, kind in KINDS.items():
                    bucket = made[f"acme-{name}"]
                    assert (bucket.settings, bucket.versioning) == (kind.settings, kind.versioning)
            finally:
                await engine.close()
        engine = await open_engine(settings)
        try:
            session = engine.session(local_principal(settings))
            await session.executions.create("run")
            for name, size, where in (("small", (64 << 10) - 1, "catalog"), ("large", 64 << 10, "local")):
                wish = NewArtifact(name, name)
                artifact = await session.executions.add("run", wish, Body.of_bytes(noise(size)))
                found = await engine.catalog.resolve(
                    ObjectRef("default", artifact.bucket, artifact.key), version_id=artifact.version_id
                )
                assert [replica.store for replica in found.replicas] == [where]
                kind = "database" if where == "catalog" else "object_storage"
                assert artifact.storage_type == kind
            assert len(blobs_on_disk(disk)) == 1
        finally:
            await engine.close()

    run(story())
