"""Keys that a program prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from holdfast.backends._credentials.document import MOST, Document, parsed
from holdfast.core.errors import ConfigError, UnauthenticatedError, UnavailableError

_PARTING = 2.0  #: seconds for which the pipe of a killed program may stay open
_WHAT = "the program of credentials_command"


async def from_command(command: Sequence[str], timeout: float) -> Document:
    """Return what the program prints. No shell is used; its errors are thrown away, for they may hold secrets.

    Raises:
        ConfigError: it cannot be started. UnavailableError: it did not end in time, and was killed with its children.
        UnauthenticatedError: it failed, or printed no JSON object.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a NUL in an argument"
        raise ConfigError(f"{_WHAT} cannot be started: {reason}") from None
    try:
        async with asyncio.timeout(timeout):
            text = await _bounded(process)
            status = None if len(text) > MOST else await process.wait()
    except TimeoutError:
        raise UnavailableError(f"{_WHAT} did not end within {timeout:.0f} s") from None
    finally:
        await _end(process)
    if status is None:
        raise UnauthenticatedError(f"{_WHAT} printed more than 64 KiB; that are no keys")
    if status != 0:
        raise UnauthenticatedError(f"{_WHAT} ended with status {status}; run it by hand to see why")
    return parsed(text, _WHAT)


async def _bounded(process: asyncio.subprocess.Process) -> bytes:
    """Return what it prints, cut where it is too much."""
    assert process.stdout is not None
    text = b""
    while len(text) <= MOST and (more := await process.stdout.read(MOST)):
        text += more
    return text


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of it running; whoever cancels us meanwhile waits for that."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(asyncio.ensure_future(_gone(process)))


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Wait for its end. It counts as ended when nobody can write to us any more, so what is left is read first."""
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PARTING):
            while await process.stdout.read(MOST):
                pass
            await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # a grandchild that got away may hold the pipe
