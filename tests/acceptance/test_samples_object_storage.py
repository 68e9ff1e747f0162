"""Code written for a port of object storage runs as it is, and gets the same answers wherever the bytes are."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

import holdfast
from holdfast.core.errors import ConfigError, InvalidRequestError, NotFoundError, UnauthenticatedError
from holdfast.facades import (
    AsyncObjectStorage,
    IObjectStorageAdapter,
    IObjectStorageDomain,
    ObjectStorageFactory,
    ObjectStorageSecondaryAdapterFS,
    ObjectStorageSecondaryAdapterS3,
    ObjectStorageService,
)
from holdfast.testing import servers
from holdfast.testing.fakes.naas import NaasFake, running
from holdfast.testing.servers import S3Server
from tests.helpers import blobs_on_disk, noise

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with servers.require(servers.rclone_s3) as server:
        yield server


@pytest.fixture(scope="module")
def naas(s3: S3Server) -> Iterator[NaasFake]:
    with running(s3) as fake:
        yield fake


@pytest.fixture(params=["FS", "S3", "Naas", "Holdfast"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStorageService]:
    monkeypatch.chdir(tmp_path)
    if request.param == "FS":
        (tmp_path / "storage").mkdir()
        with ObjectStorageFactory.ObjectStorageServiceFS__find_storage(needle="storage") as made:
            yield made
    elif request.param == "S3":
        server: S3Server = request.getfixturevalue("s3")
        with ObjectStorageFactory.ObjectStorageServiceS3(
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            bucket_name=server.bucket,
            base_prefix=f"{request.node.originalname}/base/",
            endpoint_url=server.endpoint,
        ) as made:
            yield made
    elif request.param == "Naas":
        fake: NaasFake = request.getfixturevalue("naas")
        with ObjectStorageFactory.ObjectStorageServiceNaas(
            naas_api_key=fake.api_key,
            workspace_id=fake.workspace_id,
            storage_name=fake.storage_name,
            base_prefix=f"{request.node.originalname}/base/",
            api_base=fake.api_url,
            s3_endpoint=fake.s3_url,
            allow_http=True,
            dialect="rclone",
        ) as made:
            yield made
    else:
        with holdfast.open(tmp_path / "data") as client:
            yield ObjectStorageFactory.ObjectStorageServiceHoldfast(client, "shared", "below/here")


class TestEveryAdapter:
    """One set of tests for all of them."""

    def test_an_object_comes_back_and_is_replaced(self, service: ObjectStorageService) -> None:
        service.put_object("reports/2024", "may.txt", b"sunny")
        assert service.get_object("reports/2024", "may.txt") == b"sunny"
        service.put_object("reports/2024", "may.txt", b"")
        assert service.get_object("/reports/2024/", "may.txt") == b""

    def test_what_is_missing_is_missing_in_one_way(self, service: ObjectStorageService) -> None:
        asks: list[Callable[[], object]] = [
            lambda: service.get_object("no", "thing"),
            lambda: service.delete_object("no", "thing"),
            lambda: service.list_objects("no"),
        ]
        for again in range(2):
            for ask in asks:
                with pytest.raises(NotFoundError):
                    ask()
            assert (service.list_objects("") == []) is not bool(again)
            service.put_object("nothing", "else", b"1")

    def test_a_deleted_object_is_gone_once(self, service: ObjectStorageService) -> None:
        service.put_object("p", "k", b"1")
        service.delete_object("p", "k")
        for ask in (service.get_object, service.delete_object):
            with pytest.raises(NotFoundError):
                ask("p", "k")

    def test_a_listing_shows_what_is_directly_there(self, service: ObjectStorageService) -> None:
        for prefix, key in (("a", "2"), ("a", "1"), ("a/b", "3"), ("ab", "4"), ("", "5"), ("a", "b.txt")):
            service.put_object(prefix, key, b"x")
        assert service.list_objects("a") == service.list_objects("a/") == ["a/1", "a/2", "a/b.txt", "a/b/"]
        assert service.list_objects("") == service.list_objects() == ["5", "a/", "ab/"]
        assert service.list_objects("a/b/") == ["a/b/3"]
        told: Queue[str] = Queue()
        service.list_objects("a", told)
        assert [told.get_nowait() for _ in range(4)] == ["a/1", "a/2", "a/b.txt", "a/b/"]

    def test_large_objects_go_through_files(self, service: ObjectStorageService, tmp_path: Path) -> None:
        source, target = tmp_path / "in", tmp_path / "out"
        source.write_bytes(noise(2_000_000))
        service.put_object_from("big", "one", source)
        with source.open("rb") as file:
            service.put_object_from("big", "two", file)
        for key in ("one", "two"):
            service.get_object_to("big", key, target)
            assert target.read_bytes() == noise(2_000_000)
        with pytest.raises(NotFoundError):
            service.get_object_to("big", "three", tmp_path / "never")
        assert not (tmp_path / "never").exists()

    def test_no_key_leads_out(self, service: ObjectStorageService) -> None:
        for prefix, key in (("a", "../b"), ("..", "b"), ("a", "")):
            with pytest.raises(InvalidRequestError):
                service.put_object(prefix, key, b"1")


def test_the_samples_of_the_guide(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port as it was given, and an adapter written for it, in front of our service."""
    monkeypatch.chdir(tmp_path)
    for port in (IObjectStorageAdapter, IObjectStorageDomain):
        assert list(inspect.signature(port.get_object).parameters) == ["self", "prefix", "key"]
        assert list(inspect.signature(port.put_object).parameters) == ["self", "prefix", "key", "content"]
        assert list(inspect.signature(port.delete_object).parameters) == ["self", "prefix", "key"]
        assert next(iter(list(inspect.signature(port.list_objects).parameters)[1:])) == "prefix"

    class InMemory(IObjectStorageAdapter):
        def __init__(self) -> None:
            self.held: dict[str, bytes] = {}

        def get_object(self, prefix: str, key: str) -> bytes:
            return self.held[f"{prefix}/{key}"]

        def put_object(self, prefix: str, key: str, content: bytes) -> None:
            self.held[f"{prefix}/{key}"] = content

        def delete_object(self, prefix: str, key: str) -> None:
            del self.held[f"{prefix}/{key}"]

        def list_objects(self, prefix: str) -> list[str]:
            return [name for name in self.held if name.startswith(f"{prefix}/")]

    service = ObjectStorageService(adapter=InMemory())
    service.put_object("p", "k", b"1")
    service.put_object_from("p", "l", io.BytesIO(b"2"))
    service.get_object_to("p", "l", tmp_path / "l")
    assert (service.get_object("p", "k"), (tmp_path / "l").read_bytes()) == (b"1", b"2")
    assert service.list_objects("p") == ["p/k", "p/l"]
    service.delete_object("p", "k")
    service.close()

    adapter = ObjectStorageSecondaryAdapterS3(
        s3.bucket, s3.access_key, s3.secret_key, base_prefix="samples/", endpoint_url=s3.endpoint
    )
    service = ObjectStorageService(adapter)
    service.put_object("datastore", "hello.txt", b"hello")
    service.close()
    assert service.get_object("datastore", "hello.txt") == b"hello", "a closed one opens again"
    service.close()
    assert [path.stat().st_size for path in blobs_on_disk(s3.data / s3.bucket / "samples")] == [5]

    with ObjectStorageService(ObjectStorageSecondaryAdapterFS(base_path="storage")) as local:
        local.put_object("datastore", "hello.txt", b"hello")
    with holdfast.open("storage") as client:
        assert client.get("objects", "datastore/hello.txt") == b"hello"


def test_the_storage_directory_is_found_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "work" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "work" / "needle-in-hay").mkdir()
    monkeypatch.chdir(deep)
    with ObjectStorageFactory.ObjectStorageServiceFS__find_storage("needle-in-hay") as service:
        service.put_object("", "k", b"1")
    assert (tmp_path / "work" / "needle-in-hay" / "catalog.db").is_file()
    with pytest.raises(NotFoundError, match="no-such-needle"):
        ObjectStorageFactory.ObjectStorageServiceFS__find_storage("no-such-needle")


def test_what_cannot_be_opened_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="workspace_id"):
        ObjectStorageFactory.ObjectStorageServiceNaas("key", "", "storage").put_object("", "k", b"1")
    with pytest.raises(ConfigError, match="secret_key") as caught:
        ObjectStorageFactory.ObjectStorageServiceS3("key", "", "bucket").put_object("", "k", b"1")
    assert "objects" not in str(caught.value)
    assert not (tmp_path / "holdfast-data" / "objects").exists(), "nothing was kept on the local disk instead"


def test_the_same_with_an_event_loop(tmp_path: Path) -> None:
    async def story() -> list[str]:
        async with holdfast.open_async(tmp_path / "data") as client:
            storage = AsyncObjectStorage.over(client, "shared", "base")
            await storage.put_object("a", "1", b"one")
            await storage.put_object_from("a", "2", io.BytesIO(b"two"))
            await storage.get_object_to("a", "2", tmp_path / "two")
            assert await storage.get_object("a", "1") == b"one"
            await storage.delete_object("a", "1")
            assert [item.ref.key async for item in client.list("shared")] == ["base/a/2"]
            return await storage.list_objects("a")

    assert asyncio.run(story()) == ["a/2"]
    assert (tmp_path / "two").read_bytes() == b"two"


def test_naas_is_found_by_its_variables_and_its_keys_may_end(
    naas: NaasFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAAS_PYTHON_API_BASE_URL", naas.api_url + "/")
    monkeypatch.setenv("NAAS_S3_ENDPOINT_URL", naas.s3_url)
    names = (naas.workspace_id, naas.storage_name)
    with ObjectStorageFactory.ObjectStorageServiceNaas(
        naas.api_key, *names, "found", dialect="rclone"
    ) as service:
        service.put_object("a", "1", b"one")
        naas.ledger.end_all()
        assert service.get_object("a", "1") == b"one"
        service.put_object("a", "2", b"two")
    with ObjectStorageFactory.ObjectStorageServiceNaas("wrong", *names, "other") as service:
        with pytest.raises(UnauthenticatedError, match="api_key"):
            service.put_object("a", "1", b"one")
    assert naas.api_key not in repr(service.adapter.__dict__)
