"""The peer application does what it is compared for: what goes in by form comes out by key."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from bench.peers import flask_minio
from holdfast.testing.servers import S3Server, rclone_s3, require

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with require(rclone_s3) as running:
        yield running


@pytest.fixture
def peer(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("MINIO_ENDPOINT", f"{server.host}:{server.port}")
    monkeypatch.setenv("MINIO_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("MINIO_SECRET_KEY", server.secret_key)
    return flask_minio.create_app().test_client()


@pytest.mark.parametrize("route", ["/api/v1/upload", "/api/v1/upload/stream"])
def test_what_is_uploaded_is_downloaded(peer: FlaskClient, server: S3Server, route: str) -> None:
    data, key = os.urandom(20_000), f"a/{route.rpartition('/')[2]}.bin"
    form = {"bucket": server.bucket, "key": key, "file": (io.BytesIO(data), "x.bin")}
    stored = peer.post(route, data=form)
    assert (stored.status_code, stored.json["success"]) == (200, True) if stored.json else False
    found = peer.get(f"/api/v1/download/{server.bucket}/{key}")
    assert (found.status_code, found.data) == (200, data)
    listed = peer.get(f"/api/v1/list/{server.bucket}?prefix=a/").json
    assert listed is not None
    assert key in [item["key"] for item in listed["objects"]]


def test_what_is_missing_is_said(peer: FlaskClient, server: S3Server) -> None:
    assert peer.get(f"/api/v1/download/{server.bucket}/absent").status_code == 404
    assert peer.post("/api/v1/upload", data={"bucket": server.bucket}).status_code == 400
