"""The Python clients of `bench.library`, each in a process of its own: `python -m bench.clients NAME < orders`.

A client reads one JSON order a line, carries it out, and answers with one line. Large objects go as bytes from memory
and come back as a stream that is counted, never kept; small ones come back as bytes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

PART = 8 << 20
PARALLEL = 4
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """The S3 server that all clients use, and a directory for the catalog of the one that has a catalog."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    home: str


class Client(ABC):
    """The four things that are measured."""

    @abstractmethod
    async def open(self, place: Place) -> None:
        """Get ready; nothing of this is timed."""

    @abstractmethod
    async def put(self, key: str, data: bytes) -> None:
        """Store `data`."""

    @abstractmethod
    async def get(self, key: str) -> bytes:
        """Return a small object."""

    @abstractmethod
    async def stream(self, key: str) -> int:
        """Read a large object and return how many bytes it had."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""


class Obstore(Client):
    """obstore as its manual shows it, with the parts that Holdfast uses."""

    async def open(self, place: Place) -> None:
        import obstore
        from obstore.store import S3Store

        self._obstore = obstore
        self._store = S3Store(
            place.bucket,
            endpoint=place.endpoint,
            region=place.region,
            access_key_id=place.access_key,
            secret_access_key=place.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    async def put(self, key: str, data: bytes) -> None:
        await self._obstore.put_async(self._store, key, data, chunk_size=PART, max_concurrency=PARALLEL)

    async def get(self, key: str) -> bytes:
        found = await self._obstore.get_async(self._store, key)
        return bytes(await found.bytes_async())

    async def stream(self, key: str) -> int:
        found = await self._obstore.get_async(self._store, key)
        return sum([len(chunk) async for chunk in found.stream(min_chunk_size=CHUNK)])

    async def close(self) -> None:
        del self._store  # it has no close


class Boto3(Client):
    """boto3 in a thread per operation in flight, with managed uploads for large objects."""

    async def open(self, place: Place) -> None:
        boto3 = importlib.import_module("boto3")
        config = importlib.import_module("botocore.config").Config
        transfer = importlib.import_module("boto3.s3.transfer").TransferConfig
        self._bucket = place.bucket
        self._threads = ThreadPoolExecutor(16)
        self._transfer = transfer(
            multipart_chunksize=PART, multipart_threshold=PART, max_concurrency=PARALLEL
        )
        self._s3 = boto3.client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region,
            aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key,
            config=config(max_pool_connections=32, s3={"addressing_style": "path"}),
        )

    async def put(self, key: str, data: bytes) -> None:
        await self._run(self._put, key, data)

    async def get(self, key: str) -> bytes:
        return bytes(
            await self._run(lambda: self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        )

    async def stream(self, key: str) -> int:
        return int(await self._run(self._count, key))

    async def close(self) -> None:
        self._threads.shutdown()

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _put(self, key: str, data: bytes) -> None:
        if len(data) < PART:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)
            return
        import io

        self._s3.upload_fileobj(io.BytesIO(data), self._bucket, key, Config=self._transfer)

    def _count(self, key: str) -> int:
        body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
        return sum(len(chunk) for chunk in body.iter_chunks(CHUNK))


def _settings(place: Place) -> Any:
    """Return settings with one S3 store, for contents of any size, and a SQLite catalog under `place.home`."""
    from holdfast.config import load

    store = {
        "driver": "s3",
        "endpoint": place.endpoint,
        "bucket": place.bucket,
        "region": place.region,
        "access_key": place.access_key,
        "secret_key": place.secret_key,
        "allow_http": True,
        "prefix": Path(place.home).name,
    }
    where = {"stores": ["s3"], "inline": 0}
    return load(data=Path(place.home), stores={"s3": store}, placement=where, sweep_interval=0.0)


class Holdfast(Client):
    """Holdfast as a library: the engine over a SQLite catalog; every put is digested and committed durably."""

    def settings(self, place: Place) -> Any:
        """Return what it is configured with."""
        return _settings(place)

    async def open(self, place: Place) -> None:
        from holdfast.app import local_principal, open_engine
        from holdfast.core.body import Body

        self._body = Body.of_bytes
        settings = self.settings(place)
        self._engine = await open_engine(settings)
        self._session = self._engine.session(local_principal(settings))
        await self._session.create_bucket("bench")

    async def put(self, key: str, data: bytes) -> None:
        await self._session.put("bench", key, self._body(data))

    async def get(self, key: str) -> bytes:
        async with self._session.get("bench", key) as reader:
            return await reader.read()

    async def stream(self, key: str) -> int:
        async with self._session.get("bench", key) as reader:
            return sum([len(chunk) async for chunk in reader])

    async def close(self) -> None:
        await self._engine.close()


class HoldfastLocal(Holdfast):
    """The same with the local disk as its store, for contents of any size."""

    inline = 0  #: bytes; contents below it live in the catalog

    def settings(self, place: Place) -> Any:
        """Return settings with a folder beside the catalog."""
        from holdfast.config import load

        return load(data=Path(place.home), placement={"inline": self.inline}, sweep_interval=0.0)


class HoldfastInline(HoldfastLocal):
    """The same with small contents in the catalog, as it is by default."""

    inline = 64 << 10


class HoldfastStack(Client):
    """Only the S3 driver inside its layers: what remains when the engine and its catalog are taken away."""

    async def open(self, place: Place) -> None:
        from holdfast.core.body import Body
        from holdfast.core.clock import Environment
        from holdfast.drivers import open_store

        self._body = Body.of_bytes
        settings = _settings(place)
        self._backend = open_store("s3", settings.all_stores["s3"], Environment()).backend

    async def put(self, key: str, data: bytes) -> None:
        await self._backend.put(key, self._body(data))

    async def get(self, key: str) -> bytes:
        async with self._backend.get(key) as reader:
            return await reader.read()

    async def stream(self, key: str) -> int:
        async with self._backend.get(key) as reader:
            return sum([len(chunk) async for chunk in reader])

    async def close(self) -> None:
        await self._backend.close()


CLIENTS: dict[str, type[Client]] = {
    "holdfast": Holdfast,
    "holdfast-stack": HoldfastStack,
    "obstore": Obstore,
    "boto3": Boto3,
}
#: The engine with small contents in different places.
PLACES: dict[str, type[Client]] = {"inline": HoldfastInline, "local": HoldfastLocal, "s3": Holdfast}


async def carry_out(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    """Do `order["count"]` operations, `order["in_flight"]` at a time, and return rate, CPU and latencies."""
    work = {"put": _putting, "get": _getting, "stream": _streaming}[order["verb"]](client, order)
    numbers = iter(range(order["first"], order["first"] + order["count"]))
    latencies: list[float] = []

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await work(f"{order['name']}-{number:08d}", number)
            latencies.append(time.perf_counter() - began)

    used, started = _cpu(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(order["in_flight"])))
    elapsed = time.perf_counter() - started
    latencies.sort()
    return {
        "seconds": elapsed,
        "per_second": order["count"] / elapsed,
        "cpu_us": (_cpu() - used) / order["count"] * 1e6,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)] * 1e3,
    }


def _putting(client: Client, order: dict[str, Any]) -> Callable[[str, int], Any]:
    rest = os.urandom(order["size"] - 8)

    async def work(key: str, number: int) -> None:
        await client.put(key, number.to_bytes(8, "big") + rest)

    return work


def _getting(client: Client, order: dict[str, Any]) -> Callable[[str, int], Any]:
    async def work(key: str, number: int) -> None:
        _check(len(await client.get(key)), order["size"])

    return work


def _streaming(client: Client, order: dict[str, Any]) -> Callable[[str, int], Any]:
    async def work(key: str, number: int) -> None:
        _check(await client.stream(key), order["size"])

    return work


def _check(got: int, wanted: int) -> None:
    if got != wanted:
        raise ConnectionError(f"{got} bytes came back instead of {wanted}")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _main(name: str) -> None:
    client = (CLIENTS | PLACES)[name]()
    await client.open(Place(**json.loads(sys.stdin.readline())))
    print(json.dumps({"ready": name}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await carry_out(client, json.loads(line))), flush=True)
    await client.close()
    await asyncio.sleep(
        0.1
    )  # threads of a Rust client that are still coming to rest would abort the interpreter


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
