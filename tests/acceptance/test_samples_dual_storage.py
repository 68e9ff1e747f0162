"""Code written for two stores, one near and one far, runs as it is: only the import is another one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import holdfast.facades
from holdfast.core.errors import ConfigError, InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.facades import DualStorageClient
from holdfast.testing import servers
from holdfast.testing.servers import S3Server
from tests.helpers import blobs_on_disk, noise

pytestmark = pytest.mark.acceptance
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_SIDES = ("internal", "external")
_APART = ("swapped", "failures", "inside", "public")  #: tests whose bytes are apart from the others'
_OURS = ("HOLDFAST_", "INTERNAL_", "EXTERNAL_", "AWS_", "S3_", "R2_", "MINIO_", "STORAGE_", "OBJECT_STORAGE_")


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Server]:
    with servers.require(servers.rclone_s3) as server:
        for name in (
            "model-weights",
            "training-datasets",
            *(f"{side}-{test}" for side in _SIDES for test in _APART),
        ):
            (server.data / name).mkdir()  # before it looks, which it does once
        yield server


@pytest.fixture(scope="module")
def other() -> Iterator[S3Server]:
    with servers.require(servers.rclone_s3) as server:
        for name in ("training-datasets", "external-swapped"):
            (server.data / name).mkdir()
        yield server


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A program of its own, in a directory of its own."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name == "PORT":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(holdfast.facades.__dict__, "dual_storage", raising=False)
    return monkeypatch


def both(clean: pytest.MonkeyPatch, near: S3Server, far: S3Server) -> None:
    """Set the variables of the guide's example."""
    for side, server in (("INTERNAL", near), ("EXTERNAL", far)):
        clean.setenv(f"{side}_STORAGE_ENDPOINT", server.endpoint)
        clean.setenv(f"{side}_STORAGE_ACCESS_KEY", server.access_key)
        clean.setenv(f"{side}_STORAGE_SECRET_KEY", server.secret_key)
    clean.setenv("INTERNAL_BUCKET_WEIGHTS", "model-weights")
    clean.setenv("INTERNAL_BUCKET_CHECKPOINTS", "training-checkpoints")
    clean.setenv("INTERNAL_BUCKET_SCHEMAS", "config-schemas")
    clean.setenv("EXTERNAL_BUCKET_DATASETS", "training-datasets")


def apart(clean: pytest.MonkeyPatch, near: S3Server, far: S3Server, name: str) -> None:
    """Set the variables, and keep the bytes in buckets that no other test has."""
    both(clean, near, far)
    for side in ("INTERNAL", "EXTERNAL"):
        clean.setenv(f"{side}_STORAGE_BUCKET", f"{side.lower()}-{name}")


def test_the_samples_of_the_guide(clean: pytest.MonkeyPatch, minio: S3Server, tmp_path: Path) -> None:
    both(clean, minio, minio)
    Path("resnet50.pth").write_bytes(noise(300_000, 1))
    Path("checkpoint.pth").write_bytes(noise(200_000, 2))
    Path("dataset.zip").write_bytes(noise(400_000, 3))
    target = tmp_path / "out"

    from holdfast.facades import dual_storage

    dual_storage.upload_schema(b'{"epochs": 10}', "ultralytics")

    # Upload pretrained weight
    dual_storage.upload_weight(file_path=Path("resnet50.pth"), weight_key="resnet50.pth")

    # Download weight
    dual_storage.download_weight(weight_key="resnet50.pth", dest_path=target / "resnet50.pth")

    # Upload checkpoint
    dual_storage.upload_checkpoint(
        file_path=Path("checkpoint.pth"), checkpoint_key="jobs/123/checkpoint_epoch_10.pth"
    )

    # Get config schema
    schema_bytes = dual_storage.get_schema("ultralytics")
    schema_dict = json.loads(schema_bytes)

    # Upload dataset
    with open("dataset.zip", "rb") as f:
        dual_storage.upload_dataset(file_obj=f, dataset_key="datasets/abc-123.zip")

    # Download dataset
    dual_storage.download_dataset(dataset_key="datasets/abc-123.zip", dest_path=target / "dataset.zip")

    # Generate presigned URL (for Frontend download)
    url = dual_storage.generate_dataset_presigned_url(
        dataset_key="datasets/abc-123.zip",
        expiration=3600,  # 1 hour
    )

    assert schema_dict == {"epochs": 10}
    assert (target / "resnet50.pth").read_bytes() == noise(300_000, 1)
    assert (target / "dataset.zip").read_bytes() == noise(400_000, 3)
    dual_storage.download_checkpoint("jobs/123/checkpoint_epoch_10.pth", target / "c.pth")
    assert (target / "c.pth").read_bytes() == noise(200_000, 2)
    assert url.startswith(minio.endpoint + "/training-datasets/")
    with _DIRECT.open(url, timeout=20) as answer:
        assert answer.read() == noise(400_000, 3)
        assert "abc-123.zip" in answer.headers["Content-Disposition"]
    assert dual_storage.list_datasets() == ["datasets/abc-123.zip"]
    near = blobs_on_disk(minio.data / "model-weights")
    far = blobs_on_disk(minio.data / "training-datasets")
    assert sorted(path.stat().st_size for path in near) == [14, 200_000, 300_000]
    assert [path.stat().st_size for path in far] == [400_000]
    dual_storage.close()


def test_the_single_store_of_before_still_works(clean: pytest.MonkeyPatch, other: S3Server) -> None:
    clean.setenv("AWS_S3_ENDPOINT_URL", other.endpoint)
    clean.setenv("S3_BUCKET_DATASETS", "training-datasets")
    clean.setenv("AWS_ACCESS_KEY_ID", other.access_key)
    clean.setenv("AWS_SECRET_ACCESS_KEY", other.secret_key)
    with DualStorageClient() as storage:
        storage.upload_dataset(io.BytesIO(b"images"), "datasets/one.zip")
        storage.upload_schema(b"{}", "timm")
        assert storage.list_datasets() == ["datasets/one.zip"]
        assert storage.get_schema("timm") == b"{}"
        with _DIRECT.open(storage.generate_dataset_presigned_url("datasets/one.zip"), timeout=20) as answer:
            assert answer.read() == b"images"


def test_another_provider_is_one_line(
    clean: pytest.MonkeyPatch, minio: S3Server, other: S3Server, tmp_path: Path
) -> None:
    apart(clean, minio, minio, "swapped")
    with DualStorageClient() as storage:
        storage.upload_dataset(b"there", "datasets/old.zip")
        old = storage.generate_dataset_presigned_url("datasets/old.zip")
    assert urlsplit(old).netloc == urlsplit(minio.endpoint).netloc

    clean.setenv("EXTERNAL_STORAGE_ENDPOINT", other.endpoint)

    for name, key in (("ACCESS", other.access_key), ("SECRET", other.secret_key)):
        clean.setenv(f"EXTERNAL_STORAGE_{name}_KEY", key)  # each test server has keys of its own
    with DualStorageClient() as storage:
        storage.upload_dataset(b"swapped", "datasets/new.zip")
        url = storage.generate_dataset_presigned_url("datasets/new.zip")
    assert urlsplit(url).netloc == urlsplit(other.endpoint).netloc
    with _DIRECT.open(url, timeout=20) as answer:
        assert answer.read() == b"swapped"


def test_failures_are_errors_and_nothing_internal_has_a_url(
    clean: pytest.MonkeyPatch, minio: S3Server, tmp_path: Path
) -> None:
    apart(clean, minio, minio, "failures")
    with DualStorageClient() as storage:
        assert storage.list_datasets() == []
        with pytest.raises(NotFoundError):
            storage.get_schema("nothing")
        with pytest.raises(NotFoundError):
            storage.download_weight("nothing.pth", tmp_path / "made" / "nothing.pth")
        assert not (tmp_path / "made").exists()
        with pytest.raises(NotFoundError):
            storage.generate_dataset_presigned_url("datasets/nothing.zip")
        with pytest.raises(InvalidRequestError):
            storage.upload_checkpoint(tmp_path / "no-such-file", "c")
        storage.upload_dataset(b"x", "datasets/x.zip")
        with pytest.raises(InvalidRequestError, match="7 days"):
            storage.generate_dataset_presigned_url("datasets/x.zip", expiration=10**7)
        for ask in (storage.generate_weight_presigned_url, storage.generate_checkpoint_presigned_url):
            with pytest.raises(PermissionDeniedError, match="internal"):
                ask("resnet50.pth")


def test_an_internal_object_has_no_url_by_any_other_way(clean: pytest.MonkeyPatch, minio: S3Server) -> None:
    apart(clean, minio, minio, "inside")
    with holdfast.open() as client:
        client.create_bucket("model-weights")
        client.put("model-weights", "w.pth", b"weights")
        with pytest.raises(ConfigError, match="public_url"):
            client.presign("model-weights", "w.pth")


def test_the_host_that_a_browser_uses(clean: pytest.MonkeyPatch, minio: S3Server) -> None:
    apart(clean, minio, minio, "public")
    clean.setenv("EXTERNAL_STORAGE_PUBLIC_ENDPOINT", "https://files.example.com")
    with DualStorageClient() as storage:
        storage.upload_dataset(b"x", "datasets/x.zip")
        url = storage.generate_dataset_presigned_url("datasets/x.zip")
    assert url.startswith("https://files.example.com/external-public/")


def test_without_any_variable_nothing_is_stored(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with DualStorageClient() as storage, pytest.raises(ConfigError, match="INTERNAL_STORAGE_ENDPOINT"):
        storage.upload_dataset(b"x", "datasets/x.zip")
    assert list(tmp_path.iterdir()) == []


def test_all_pages_are_listed(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as client, DualStorageClient(client) as storage:
        client.create_bucket("training-datasets")

        async def fill(start: int) -> None:
            for number in range(start, 1003, 16):
                await client.aio.put("training-datasets", f"datasets/{number:04}", b"")

        async def fill_all() -> None:
            await asyncio.gather(*map(fill, range(16)))

        client.run(fill_all())
        assert storage.list_datasets() == [f"datasets/{number:04}" for number in range(1003)]
        assert storage.list_datasets("datasets/100") == [f"datasets/100{number}" for number in range(3)]
