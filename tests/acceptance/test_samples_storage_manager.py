"""Code written for a storage manager with adapters runs as it is, with the configuration files that it had."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
)
from holdfast.facades import (
    LocalStorageAdapter,
    MinioStorageAdapter,
    StorageAdapter,
    StorageManager,
    SyncStorageManager,
)
from holdfast.testing import servers
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk
from holdfast.testing.servers import S3Server
from tests.helpers import blobs_on_disk, noise

pytestmark = pytest.mark.acceptance

#: The configuration of the guide.
CONFIG: dict[str, Any] = {
    "content_types": {
        "portraits": {
            "storage_type": "local",
            "yandex_disk": {"enabled": False, "base_path": "vertex-ar/portraits"},
        },
        "videos": {
            "storage_type": "local",
            "yandex_disk": {"enabled": False, "base_path": "vertex-ar/videos"},
        },
    },
    "backup_settings": {
        "auto_split_backups": True,
        "max_backup_size_mb": 500,
        "chunk_size_mb": 100,
        "compression": "gz",
    },
    "yandex_disk": {"oauth_token": "", "enabled": False},
    "minio": {"enabled": False, "endpoint": "", "access_key": "", "secret_key": "", "bucket": ""},
}
BIG = noise(200_000)


def config(**kinds: str) -> dict[str, Any]:
    """Return the guide's configuration with the content types as given."""
    return {**CONFIG, "content_types": {name: {"storage_type": kind} for name, kind in kinds.items()}}


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Server]:
    with servers.require(servers.rclone_s3) as server:
        for name in ("one", "two", "three"):
            (server.data / name).mkdir()
        yield server


def connection(server: S3Server, bucket: str) -> dict[str, Any]:
    return {
        "enabled": True,
        "endpoint": server.endpoint.removeprefix("http://"),
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "bucket": bucket,
        "secure": False,
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_samples_of_the_guide(here: Path) -> None:
    """The configuration as a file where it was, and every verb of the adapter."""
    (here / "config").mkdir()
    (here / "config" / "storage_config.json").write_text(json.dumps(CONFIG))

    async def story() -> None:
        async with StorageManager(storage_root=here / "storage") as manager:
            # StorageManager: save_file(file_data, file_path, content_type) -> public URL
            url = await manager.save_file(BIG, "acme/01/portrait.png", "portraits")
            assert url == "/api/v1/objects/portraits/acme/01/portrait.png"
            assert manager.get_public_url("acme/01/portrait.png", "portraits") == url
            assert await manager.get_file("acme/01/portrait.png", "portraits") == BIG
            assert await manager.file_exists("acme/01/portrait.png", "portraits")
            assert not await manager.file_exists("acme/01/portrait.png", "videos")

            adapter = manager.get_adapter("portraits")
            assert isinstance(adapter, LocalStorageAdapter)
            assert await adapter.delete_file("acme/01/portrait.png") is True
            assert await adapter.delete_file("acme/01/portrait.png") is False
            with pytest.raises(NotFoundError):
                await adapter.get_file("acme/01/portrait.png")

            videos = manager.get_adapter_for_content(None, "videos")
            assert await videos.directory_exists("acme") is False
            assert await videos.list_directories() == []
            assert await videos.create_directory("acme/2024/may") is True
            assert await videos.create_directory("acme/2024/may") is True
            assert await videos.directory_exists("acme/2024") is True
            assert await videos.list_directories("acme") == ["2024"]
            made = await videos.provision_hierarchy("acme", ["portraits", "diplomas"], ["Image", "QR"])
            assert made["success"] is True
            assert made["created_paths"] == [
                *("acme/portraits", "acme/portraits/Image", "acme/portraits/QR"),
                *("acme/diplomas", "acme/diplomas/Image", "acme/diplomas/QR"),
            ]
            again = await videos.provision_hierarchy("acme", ["portraits", "diplomas"], ["Image", "QR"])
            assert again["created_paths"] == []
            assert await videos.list_directories("acme") == ["2024", "diplomas", "portraits"]

    asyncio.run(story())
    assert set(inspect.signature(StorageAdapter.provision_hierarchy).parameters) == {
        *("self", "company_slug", "category_slugs", "subfolders")
    }


def test_each_content_type_lies_where_it_belongs(here: Path, minio: S3Server) -> None:
    said = config(portraits="local", videos="minio") | {"minio": connection(minio, "one")}
    with SyncStorageManager(here / "storage", config=said) as manager:
        manager.save_file(BIG, "p.png", "portraits")
        manager.save_file(io.BytesIO(BIG + BIG), "v.mp4", "videos")
        (here / "film").write_bytes(BIG)
        manager.save_file(here / "film", "small.mp4", "videos")
        assert manager.get_file("v.mp4", "videos") == BIG + BIG
        manager.get_adapter("videos").get_file_to("small.mp4", here / "back")
        assert (here / "back").read_bytes() == BIG
        assert isinstance(manager.get_adapter("videos").aio, MinioStorageAdapter)
        assert manager.get_storage_info()["content_types"]["videos"] == {
            "storage_type": "minio",
            "bucket": "videos",
            "adapter_type": "MinioStorageAdapter",
        }
    local = [path.stat().st_size for path in blobs_on_disk(here / "storage" / "objects")]
    far = sorted(path.stat().st_size for path in blobs_on_disk(minio.data / "one"))
    assert (local, far) == ([len(BIG)], [len(BIG), 2 * len(BIG)])


def test_what_has_no_place_is_refused_and_kept_nowhere(here: Path) -> None:
    said = config(portraits="yandex_disk", videos="local")
    with SyncStorageManager(here / "storage", config=said) as manager:
        for verb in (manager.get_adapter, lambda kind: manager.save_file(b"x", "p", kind)):
            with pytest.raises(ConfigError, match="no token"):
                verb("portraits")
            with pytest.raises(InvalidRequestError, match="there are portraits, videos"):
                verb("unheard-of")
        with pytest.raises(ConfigError, match="no token"):
            manager.provision_company_storage("acme", ["a"])
        with pytest.raises(NotFoundError):
            manager.save_file(b"x", "v", "videos", company_id="unheard-of")
        assert "no token" in manager.get_storage_info()["content_types"]["portraits"]["error"]
        assert manager.save_file(BIG, "v", "videos")
    assert [path.stat().st_size for path in blobs_on_disk(here / "storage" / "objects")] == [len(BIG)]
    with FakeYandexDisk() as fake:
        drive = {"api_url": f"{fake.url}/v1/disk", "allow_http": True, "enabled": True}
        refused = said | {"yandex_disk": {**drive, "oauth_token": "planted-token"}}
        with SyncStorageManager(here / "other", config=refused) as manager:
            with pytest.raises(HoldfastError) as caught:
                manager.save_file(b"x", "p", "portraits")
            assert "planted-token" not in f"{caught.value!r} {manager.aio.config!r}"
        with_token = said | {"yandex_disk": {**drive, "oauth_token": fake.accounts.access}}
        with SyncStorageManager(here / "disk", config=with_token) as manager:
            manager.save_file(BIG, "p", "portraits")
            assert manager.get_file("p", "portraits") == BIG
            assert fake.disk.used >= len(BIG)
    with pytest.raises(ConfigError, match="endpoint"):
        SyncStorageManager(here / "third", config=config(portraits="minio"))
    with pytest.raises(ConfigError, match="ftp"):
        SyncStorageManager(here / "third", config=config(portraits="ftp"))
    for wrong in ("{", "[]"):
        (here / "storage_config.json").write_text(wrong)
        with pytest.raises(ConfigError, match=r"storage_config\.json"):
            SyncStorageManager(here / "third")


def test_companies_are_apart_and_have_their_own_storage(here: Path, minio: S3Server) -> None:
    said = config(portraits="local", videos="local") | {
        "companies": {"globex": {"storage_type": "minio", "minio": connection(minio, "two")}}
    }
    with SyncStorageManager(here / "storage", config=said) as manager:
        made = manager.provision_company_storage("acme", ["diplomas"], subfolders=["Image", "QR"])
        assert made["success"] is True
        assert made["created_paths"] == [
            *("portraits/diplomas/Image", "portraits/diplomas/QR"),
            *("videos/diplomas/Image", "videos/diplomas/QR"),
        ]
        assert manager.provision_company_storage("acme", ["diplomas"])["created_paths"] == []
        defaults = manager.provision_company_storage("globex", ["diplomas"])
        assert defaults["subfolders"] == ["Image", "QR", "nft_markers", "nft_cache"]

        for company in ("acme", "globex"):
            manager.save_file(company.encode() * 20_000, "same.png", "portraits", company_id=company)
        own = {company: manager.get_file("same.png", company_id=company) for company in ("acme", "globex")}
        assert own == {"acme": b"acme" * 20_000, "globex": b"globex" * 20_000}
        assert not manager.file_exists("same.png", "portraits")
        assert manager.get_company_adapter("acme", "portraits").storage_type == "local"
        assert manager.get_adapter_for_content("globex", "videos").storage_type == "minio"
        assert manager.get_company_adapter("acme", "portraits").list_directories("diplomas") == [
            "Image",
            "QR",
        ]
        assert manager.get_public_url_for_company("acme", "a b.png").endswith("/a%20b.png?hf_tenant=acme")
        with pytest.raises(InvalidRequestError, match="tenant name"):
            manager.save_file(b"x", "p", company_id="../acme")
    far = [path.stat().st_size for path in blobs_on_disk(minio.data / "two")]
    assert len(b"globex" * 20_000) in far
    assert len(b"acme" * 20_000) not in far


def test_a_changed_configuration_moves_nothing_and_loses_nothing(here: Path, minio: S3Server) -> None:
    file = here / "storage_config.json"
    file.write_text(json.dumps(config(portraits="local") | {"minio": connection(minio, "three")}))

    async def story() -> None:
        async with StorageManager(here / "storage") as manager:
            await manager.save_file(BIG, "old.png")
            before = manager.get_adapter("portraits")
            assert manager.get_adapter("portraits") is before
            assert manager.get_company_adapter("acme", "portraits") is not before
            manager.clear_company_cache("acme")
            assert manager.get_adapter("portraits") is before

            file.write_text(json.dumps(config(portraits="minio") | {"minio": connection(minio, "three")}))
            manager.reinitialize_adapters()
            after = manager.get_adapter("portraits")
            assert (before.storage_type, after.storage_type) == ("local", "minio")
            await manager.save_file(BIG + b"new", "new.png")
            assert await manager.get_file("old.png") == await before.get_file("old.png") == BIG
            assert await before.get_file("new.png") == BIG + b"new"

    asyncio.run(story())
    assert [path.stat().st_size for path in blobs_on_disk(minio.data / "three")] == [len(BIG) + 3]
    assert [path.stat().st_size for path in blobs_on_disk(here / "storage" / "objects")] == [len(BIG)]


def test_over_a_client_that_is_there_already(here: Path) -> None:
    with holdfast.open(here / "data") as client:
        manager = SyncStorageManager(client=client)
        manager.save_file(b"1", "p.png", "previews")
        assert client.get("previews", "p.png") == b"1"
        assert manager.get_adapter("previews").storage_type == "holdfast"
        manager.close()
        assert client.get("previews", "p.png") == b"1", "a client that was given is left open"
