"""The peer application: a storage service of the usual kind, Flask in front of MinIO by way of minio-py.

It is written the way such services are written: forms for uploads, a client with a pool, a generator of 8 KiB pieces for
downloads. It checks no token, keeps no index of its own and writes no audit, so it does less than Holdfast does.

Run it as `gunicorn "bench.peers.flask_minio:create_app()"` with MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import urllib3
from flask import Flask, Response, jsonify, request
from minio import Minio
from minio.error import MinioException

PIECE = 8192
PART = 10 * 1024 * 1024
_MISSING = ("NoSuchKey", "NoSuchBucket")


def client() -> Minio:
    """Return a MinIO client with a connection pool, configured from the environment."""
    return Minio(
        endpoint=os.environ.get("MINIO_ENDPOINT", "minio:9000"),
        access_key=os.environ["MINIO_ACCESS_KEY"],
        secret_key=os.environ["MINIO_SECRET_KEY"],
        secure=os.environ.get("MINIO_SECURE", "false").lower() == "true",
        region="us-east-1",
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            maxsize=10,
            retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        ),
    )


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    minio = client()
    app.add_url_rule("/health", view_func=lambda: jsonify(status="healthy", service="storage"))
    app.add_url_rule("/api/v1/upload", "upload", lambda: upload(minio), methods=["POST"])
    app.add_url_rule("/api/v1/upload/stream", "stream", lambda: upload_stream(minio), methods=["POST"])
    app.add_url_rule(
        "/api/v1/download/<bucket>/<path:key>", "download", lambda bucket, key: download(minio, bucket, key)
    )
    app.add_url_rule("/api/v1/list/<bucket>", "list", lambda bucket: listing(minio, bucket))
    app.register_error_handler(MinioException, refused)
    return app


def upload(minio: Minio) -> tuple[Response, int]:
    """Store the file of a form in one piece."""
    file = request.files.get("file")
    if file is None:
        return jsonify(success=False, error="No file provided"), 400
    bucket = request.form.get("bucket", "default")
    key = request.form.get("key") or file.filename or "unnamed"
    data = file.read()
    result = minio.put_object(
        bucket, key, io.BytesIO(data), len(data), content_type=file.content_type or "application/octet-stream"
    )
    return (
        jsonify(
            success=True,
            message="File uploaded successfully",
            bucket=bucket,
            key=key,
            size=len(data),
            etag=result.etag,
        ),
        200,
    )


def upload_stream(minio: Minio) -> tuple[Response, int]:
    """Store the file of a form in parts of 10 MiB, as if its length were unknown."""
    file = request.files.get("file")
    if file is None:
        return jsonify(success=False, error="No file provided"), 400
    bucket, key = request.form.get("bucket", "default"), request.form.get("key") or file.filename or "unnamed"
    result = minio.put_object(bucket, key, cast(BinaryIO, file.stream), length=-1, part_size=PART)
    return jsonify(success=True, message="File uploaded successfully", etag=result.etag), 200


def download(minio: Minio, bucket: str, key: str) -> Response:
    """Send an object in pieces of 8 KiB."""
    found = minio.get_object(bucket, key)

    def pieces() -> Iterator[bytes]:
        try:
            while piece := found.read(PIECE):
                yield piece
        finally:
            found.close()
            found.release_conn()

    name = os.path.basename(key)
    return Response(
        pieces(),
        mimetype="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def listing(minio: Minio, bucket: str) -> Response:
    """List a bucket, as far as `limit` goes."""
    prefix, limit = request.args.get("prefix", ""), request.args.get("limit", 1000, type=int)
    objects: list[dict[str, Any]] = []
    truncated = False
    for item in minio.list_objects(bucket, prefix=prefix, recursive=True):
        if len(objects) == limit:
            truncated = True
            break
        objects.append(
            {
                "key": item.object_name,
                "size": item.size,
                "last_modified": item.last_modified.isoformat() if item.last_modified else None,
                "etag": item.etag,
            }
        )
    return jsonify(bucket=bucket, prefix=prefix, objects=objects, truncated=truncated)


def refused(error: MinioException) -> tuple[Response, int]:
    """Tell the client what the store said."""
    said = str(error)
    return jsonify(success=False, error=said), 404 if any(code in said for code in _MISSING) else 500
