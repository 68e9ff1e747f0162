"""Root keys printed by a command: the client of a key service, or whatever an operator trusts to hold them."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from typing import Final

from holdfast.core.errors import ConfigError

_MOST: Final = 64 << 10  #: bytes that it may print


async def seal_keys_of(configured: str, command: str, timeout: float) -> str:
    """Return the keys that are configured, or what `command` prints within `timeout` seconds.

    Raises:
        ConfigError: both are given, or the command cannot be run, fails, prints nothing or takes too long. What it
            printed is never shown.
    """
    if not command.strip():
        return configured
    if configured.strip():
        raise ConfigError("seal_keys and seal_keys_command are both set; leave one of them out")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"seal_keys_command is no command line: {error}") from None
    return await _printed(words, timeout)


async def _printed(words: list[str], timeout: float) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(f"seal_keys_command: {words[0]} cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout):
            assert process.stdout is not None
            printed = b""
            while len(printed) <= _MOST and (more := await process.stdout.read(_MOST)):
                printed += more
            status = None if len(printed) > _MOST else await process.wait()
    except TimeoutError:
        raise ConfigError(f"seal_keys_command: {words[0]} did not end within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status is None:
        raise ConfigError(f"seal_keys_command: {words[0]} printed more than {_MOST} bytes")
    if status != 0:
        raise ConfigError(f"seal_keys_command: {words[0]} failed with status {status}")
    try:
        text = printed.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise ConfigError(f"seal_keys_command: {words[0]} printed no keys; it prints ID:KEY as in seal_keys")
    return text
