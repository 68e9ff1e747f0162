"""The exit statuses, in one table: a program can tell what happened without reading a message."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from holdfast.core import errors
from holdfast.core.errors import ConfigError, HoldfastError

OK: Final = 0
USAGE: Final = 2  #: the command line itself is wrong
BROKEN_PROMISE: Final = 40  #: `store check` found a promise that the store does not keep
INTERRUPTED: Final = 130  #: Ctrl-C, as shells count it
BROKEN_PIPE: Final = 141  #: whoever read our output went away
TERMINATED: Final = 143  #: SIGTERM


class Ending(NamedTuple):
    """How a kind of error ends the program: its status, and what the user may do."""

    status: int
    hint: str


ENDINGS: Final[dict[type[HoldfastError], Ending]] = {
    errors.InternalError: Ending(1, "this is a defect; --debug shows where"),
    errors.NotFoundError: Ending(3, "see what is there with: holdfast ls"),
    errors.AlreadyExistsError: Ending(4, "choose another name"),
    errors.PreconditionFailedError: Ending(5, "look at it with: holdfast stat"),
    errors.ConflictError: Ending(6, "the state of the target forbids it"),
    errors.InvalidRequestError: Ending(7, "see: holdfast COMMAND --help"),
    errors.InvalidRangeError: Ending(8, "holdfast stat shows the size"),
    errors.TooLargeError: Ending(9, "the limit is set where the server is configured"),
    errors.DigestMismatchError: Ending(10, "nothing was stored; try again"),
    errors.UnauthenticatedError: Ending(11, "give a valid token with --token-file or HOLDFAST_TOKEN"),
    errors.PermissionDeniedError: Ending(12, "this needs another role or other file permissions"),
    errors.QuotaExceededError: Ending(13, "make room or ask for more"),
    errors.RateLimitedError: Ending(14, "wait and try again"),
    errors.UnavailableError: Ending(15, "check that it runs and can be reached, then try again"),
    errors.DeadlineError: Ending(16, "try again"),
    errors.CorruptedError: Ending(17, "try again; if it stays, another copy is needed"),
    errors.UnsupportedError: Ending(18, "the store or the server does not offer this"),
    errors.ConfigError: Ending(19, "holdfast config show tells what is set, and from where"),
}


class OldConfigError(ConfigError):
    """What is wrong is in a file that is imported, and not in the settings."""


class SettingsError(ConfigError):
    """What is wrong keeps the settings from being shown."""


#: What may be done about errors of a kind whose message begins so, where the hint of the kind would mislead.
HINTS: Final[tuple[tuple[type[HoldfastError], str, str], ...]] = (
    (errors.NotFoundError, "there is no such tenant", "see which there are with: holdfast tenant ls"),
    (errors.NotFoundError, "there is no such store", "see which there are with: holdfast store list"),
    (
        errors.NotFoundError,
        "there is no such rule",
        "see which there are with: holdfast placement rules list",
    ),
    (OldConfigError, "", "mend what is imported, or leave that out of it; nothing was written"),
    (SettingsError, "", "mend it where it is set: the file, or the variable"),
    (errors.NotFoundError, "there is no such job", "see which there are with: holdfast job list"),
    (errors.NotFoundError, "there is no such schedule", "see which there are with: holdfast schedule list"),
    (
        errors.NotFoundError,
        "there is no such snapshot",
        "see which there are with: holdfast snapshot list BUCKET",
    ),
    (errors.NotFoundError, "there is no such bucket", "see which there are with: holdfast bucket ls"),
    (
        errors.NotFoundError,
        "the bucket follows no store",
        "see which buckets do with: holdfast upstream status",
    ),
    (errors.NotFoundError, "there is no such key", "see which there are with: holdfast key ls"),
    (
        errors.PermissionDeniedError,
        "tenant ",
        "an operator serves it again with: holdfast tenant resume TENANT",
    ),
    (
        errors.PermissionDeniedError,
        "this credential cannot be used from this address",
        "networks are set with: holdfast tenant set --allow/--deny, and where keys are made",
    ),
    (
        errors.PermissionDeniedError,
        "the bucket does not let this address in",
        "networks are set with: holdfast bucket set --ip-allow/--ip-deny",
    ),
)


#: A message that names the command that helps.
_COMMAND: Final = re.compile(r"\bsee:? `?holdfast ")


def hint(error: HoldfastError) -> str:
    """Return what the user may do about `error`; "" when its message says that already."""
    if _COMMAND.search(error.message):
        return ""
    if error.store and isinstance(error, errors.UnauthenticatedError | errors.PermissionDeniedError):
        return f"correct the credentials of store {error.store} where it is set, or what they may do there"
    for kind, beginning, text in HINTS:
        if isinstance(error, kind) and error.message.startswith(beginning):
            return text
    return ending(error).hint


def ending(error: HoldfastError) -> Ending:
    """Return how `error` ends the program; a subclass ends as its kind does."""
    for kind in type(error).__mro__:
        if kind in ENDINGS:
            return ENDINGS[kind]
    return ENDINGS[errors.InternalError]
