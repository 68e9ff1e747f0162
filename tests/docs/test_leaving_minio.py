"""The guide for leaving MinIO is followed against a real one, word for word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.core.adopted import key_of
from holdfast.core.clock import Environment
from holdfast.testing.servers import S3Server, minio_s3, require
from tests.docs.test_guides import ROOT, Shell, agrees, steps

pytestmark = pytest.mark.doors

GUIDE = ROOT / "docs" / "guides" / "leaving-minio.md"


def blocks() -> list[str]:
    return [part.partition("```")[0] for part in GUIDE.read_text().split("```shell\n")[1:]]


def opened(server: S3Server) -> ObjectStoreBackend:
    settings = S3Settings.model_validate(
        {
            "endpoint": server.endpoint,
            "bucket": server.bucket,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "allow_http": True,
        }
    )
    return open_s3("theirs", settings, environment=Environment())


def there(server: S3Server) -> dict[str, str]:
    async def story() -> dict[str, str]:
        backend, found = opened(server), {}
        async for info in backend.list("@any:/"):
            async with backend.get(info.name) as reader:
                found[key_of(info.name)] = (await reader.read()).decode()
        await backend.close()
        return found

    return asyncio.run(story())


def test_the_guide_is_followed_against_a_real_server(tmp_path: Path) -> None:
    with require(minio_s3) as server:
        (tmp_path / "minio-secret").write_text(server.secret_key)
        (tmp_path / "minio-secret").chmod(0o600)
        shell = Shell(tmp_path)
        try:
            for block in blocks():
                for command, shown in steps(block):
                    real = command.replace("http://127.0.0.1:9000", server.endpoint)
                    real = real.replace('"photos"', f'"{server.bucket}"').replace(
                        "minio-user", server.access_key
                    )
                    seen = shell.run(real)
                    assert agrees(shown, seen), f"$ {command}\n--- shown\n{shown}--- seen\n{seen}"
        finally:
            shell.close()
        assert there(server) == {"2025/b.txt": "changed\n", "2025/c.txt": "theirs, meanwhile\n"}
