"""Starts the peer application under gunicorn, in front of MinIO (or rclone's S3 server where there is no MinIO)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.peers.base import Peer
from bench.processes import PeerMissingError, running
from bench.wire import Call
from holdfast.testing.servers import S3Server, ServerMissingError, free_port, minio_s3, rclone_s3

#: gunicorn's worker kinds that such services run with: name, then arguments.
KINDS = {"sync": ("--worker-class", "sync"), "gthread": ("--worker-class", "gthread", "--threads", "8")}
_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def store(*, minio_only: bool = False) -> Iterator[S3Server]:
    """Yield a real S3 server: MinIO, else rclone's unless `minio_only`.

    Raises:
        PeerMissingError: none can run here.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(minio_s3())
        except ServerMissingError as missing:
            if minio_only:
                raise PeerMissingError(str(missing)) from None
            try:
                server = stack.enter_context(rclone_s3())
            except ServerMissingError as other:
                raise PeerMissingError(f"{missing}; {other}") from None
        yield server


@contextmanager
def start(home: Path, server: S3Server, *, kind: str = "sync") -> Iterator[Peer]:
    """Yield the application under gunicorn with workers of `kind`, 2 × cores + 1 of them as its manual advises."""
    port, workers = free_port(), 2 * len(os.sched_getaffinity(0)) + 1
    command = [
        *(
            sys.executable,
            "-m",
            "gunicorn",
            "bench.peers.flask_minio:create_app()",
            "--bind",
            f"127.0.0.1:{port}",
        ),
        *("--workers", str(workers), *KINDS[kind], "--timeout", "900", "--log-level", "error"),
        *("--worker-tmp-dir", str(home), "--chdir", str(_ROOT), "--no-control-socket"),
    ]
    environment = {
        "MINIO_ENDPOINT": f"{server.host}:{server.port}",
        "MINIO_ACCESS_KEY": server.access_key,
        "MINIO_SECRET_KEY": server.secret_key,
        "TMPDIR": str(home),
    }
    with running(command, home=home, port=port, ready="/health", environment=environment) as pid:
        fields = {"bucket": server.bucket, "key": "{key}"}
        yield Peer(
            name="flask+minio-py",
            port=port,
            get=Call("GET", f"/api/v1/download/{server.bucket}/{{key}}"),
            put=Call("POST", "/api/v1/upload", form=fields),
            put_large=Call("POST", "/api/v1/upload/stream", form=fields),
            roots=[pid, server.pid],
            facts={"gunicorn": kind, "workers": workers, "store": server.kind},
        )
