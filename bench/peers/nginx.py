"""The floor: nginx serving files from a directory and storing them by WebDAV. It digests nothing and syncs nothing.

One worker, sendfile on, no access log, connections kept. A put goes to a temporary file on the same file system and is
renamed, which is what its DAV module always does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.base import Peer
from bench.processes import PeerMissingError, running
from bench.wire import Call
from holdfast.testing.servers import free_port

_CONFIGURATION = """
daemon off;
master_process off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  default_type application/octet-stream;
  client_max_body_size 0;
  client_body_buffer_size {buffer};
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {home}/files;
    location / {{
      dav_methods PUT DELETE;
      create_full_put_path on;
    }}
  }}
}}
"""


@contextmanager
def start(home: Path, *, buffer: str = "1m") -> Iterator[Peer]:
    """Yield nginx over `home/files`; `buffer` is how much of a body it gathers before it writes.

    Raises:
        PeerMissingError: no nginx on this machine.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise PeerMissingError("nginx is not installed (Debian: nginx-light)")
    (home / "files" / "bench").mkdir(parents=True)
    _open_to_worker(home)
    port = free_port()
    configuration = home / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, port=port, buffer=buffer))
    command = [program, "-e", str(home / "error.log"), "-c", str(configuration), "-p", str(home)]
    with running(command, home=home, port=port, ready="/") as pid:
        target = "/bench/{key}"
        yield Peer(
            name="nginx",
            port=port,
            get=Call("GET", target),
            put=Call("PUT", target),
            put_large=Call("PUT", target),
            roots=[pid],
            facts={"worker_processes": 1, "client_body_buffer_size": buffer},
        )


def _open_to_worker(home: Path) -> None:
    """Let nginx in: without a master process it keeps our user, but its directories must exist and be ours."""
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (home / name).mkdir()
