"""The command line without its start: a process that has imported it already is forked for each command.

Most of what a short command costs is importing, and making the tree of all commands. `executable()` gives the path of a
program named `holdfast` that hands its arguments, variables, folder, input and output to a fork of a process that has
both, and ends as that fork ends. What is tested is the same code in a process of its own; tests of signals, memory and
starting run the real one.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

_SHIM = """\
#!{python} -IS
import array, json, os, socket, sys
asked = json.dumps({{"argv": sys.argv[1:], "cwd": os.getcwd(), "environ": dict(os.environ)}}).encode()
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({path!r})
server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
server.sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
for number in (0, 1, 2):
    os.close(number)  # or a reader of our output would wait for us, and a writer to our input not notice its end
status = server.recv(16)
os._exit(int(status or b"125"))
"""


@cache
def executable() -> str:
    """Return the path of the program, for as long as this process lives."""
    folder = tempfile.mkdtemp(prefix="holdfast-tests-")
    path = f"{folder}/socket"
    program = Path(folder, "holdfast")
    program.write_text(_SHIM.format(python=sys.executable, path=path))
    program.chmod(0o700)
    ours, theirs = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(16)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.doors.preloaded", str(listener.fileno()), str(ours)],
            pass_fds=(listener.fileno(), ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
    os.close(ours)

    def end() -> None:
        os.close(theirs)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return str(program)


def _serve(listener: socket.socket, parent: int) -> None:
    """Fork for each who connects, until the parent ends."""
    watched = selectors.DefaultSelector()
    watched.register(listener, selectors.EVENT_READ)
    watched.register(parent, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # pidfd: pid and who waits for it
    waiting: dict[socket.socket, int] = {}  # the pid that it waits for
    while True:
        for key, _ in watched.select():
            if key.fileobj == parent:
                for pid, _asker in running.values():
                    os.kill(pid, signal.SIGKILL)
                return
            if key.fileobj is listener:
                asker, _ = listener.accept()
                pid = _forked(asker, listener)
                ended = os.pidfd_open(pid)
                running[ended], waiting[asker] = (pid, asker), pid
                watched.register(ended, selectors.EVENT_READ)
                watched.register(asker, selectors.EVENT_READ)
            elif isinstance(key.fileobj, socket.socket):  # whoever asked has gone away
                if key.fileobj not in waiting:  # and what it asked for has ended in the same moment
                    continue
                os.kill(waiting[key.fileobj], signal.SIGKILL)
                watched.unregister(key.fileobj)
            else:
                ended = int(key.fd)
                pid, asker = running.pop(ended)
                _, code = os.waitpid(pid, 0)
                watched.unregister(ended)
                os.close(ended)
                del waiting[asker]
                if asker in watched.get_map():
                    watched.unregister(asker)
                    asker.send(b"%d" % _shown(os.waitstatus_to_exitcode(code)))
                asker.close()


def _shown(status: int) -> int:
    return 128 - status if status < 0 else status


def _forked(asker: socket.socket, listener: socket.socket) -> int:
    asked, handed, _, _ = asker.recvmsg(1 << 20, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i")
    files.frombytes(handed[0][2])
    pid = os.fork()
    if pid == 0:
        listener.close()
        asker.close()
        _run(json.loads(asked), list(files))
    for file in files:
        os.close(file)
    return pid


def _run(asked: dict[str, object], files: list[int]) -> NoReturn:
    from holdfast.cli import main

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # as a start makes them
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    os.chdir(str(asked["cwd"]))
    os.environ.clear()
    os.environ.update(asked["environ"])  # type: ignore[call-overload]
    sys.argv = ["holdfast", *asked["argv"]]  # type: ignore[misc]
    main()


def _main() -> None:
    import encodings.idna  # noqa: F401
    import gc

    import typer.main
    import typer.rich_utils
    import uvloop  # noqa: F401

    import holdfast.api.server
    import holdfast.app
    import holdfast.cli.quick
    import holdfast.library.embedded
    import holdfast.library.embedded_jobs
    import holdfast.library.http  # noqa: F401
    from holdfast.cli.app import app

    made, make = typer.main.get_command(app), typer.main.get_command
    typer.main.get_command = lambda asked: made if asked is app else make(asked)
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))


if __name__ == "__main__":
    _main()
