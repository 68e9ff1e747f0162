"""`--bandwidth`, as every command that has it means it."""

from __future__ import annotations

from holdfast.core.errors import InvalidRequestError


def bandwidth_of(text: str | None) -> int | None:
    """Return the bytes per second of `10MB` or `10MB/s`; None: no limit was given.

    Raises:
        InvalidRequestError: it is no size, or less than a byte.
    """
    from holdfast.core.sizes import parse_size

    if text is None:
        return None
    if text.isdecimal():
        raise InvalidRequestError(f"--bandwidth {text} of what? Say {text}MB, {text}KB or {text}B, a second")
    try:
        rate = parse_size(text.removesuffix("/s"))
    except ValueError as error:
        raise InvalidRequestError(f"--bandwidth: {error}") from None
    if rate < 1:
        raise InvalidRequestError("--bandwidth is at least one byte per second")
    return rate
