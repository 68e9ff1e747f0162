"""What may begin before a command line is read in full: the listing of the bucket that is to be synced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from holdfast.library.syncing.opening import begin as list_early

S3: Final = "s3://"
_HELP: Final = frozenset({"-h", "--help"})


def begin(arguments: Sequence[str]) -> None:
    """Begin to list what `push` or `pull` are asked to sync with: where that is plain, and else nothing."""
    named = [
        argument
        for before, argument in pairwise(arguments)
        if argument.startswith(S3) and not before.startswith("-")  # the value of an option, perhaps
    ]
    if len(named) == 1 and not _HELP.intersection(arguments):
        bucket, _, prefix = named[0].removeprefix(S3).partition("/")
        list_early(bucket, prefix)
