"""Files of a form taken one by one: one that fails does not hide the others."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.api.body import ClientLeftError
from holdfast.api.exchange import Exchange
from holdfast.api.file_models import FileOutcome, failed_outcome, stored_outcome
from holdfast.api.form_order import is_file, ordered
from holdfast.api.forms import FormError, parts_of
from holdfast.api.uploading import PLACING, Fields, store_file
from holdfast.core.errors import HoldfastError, InvalidRequestError
from holdfast.core.types import Version
from holdfast.engine.batches import MAX_ITEMS

#: Told of each file when it is over: what was stored, or the error.
Told = Callable[[str, str, Version | HoldfastError], None]


async def take_files(
    exchange: Exchange, fields: Fields, *, most: int, tell: Told | None = None
) -> tuple[list[FileOutcome], list[HoldfastError]]:
    """Store every file of the form and return how it went with each, in their order, and the errors.

    An error that ends the request tells in `files` what was stored before.

    Raises:
        InvalidRequestError: the form itself is malformed or holds no file. ClientLeftError: nobody sends it any more.
    """
    outcomes: list[FileOutcome] = []
    errors: list[HoldfastError] = []
    async for part in ordered(parts_of(exchange, most=most), PLACING):
        if not is_file(part):
            await fields.take(part)
            continue
        if len(outcomes) >= MAX_ITEMS:
            raise FormError(f"the form holds more than {MAX_ITEMS:,} files; send several")
        key = fields.key_of(part)
        try:
            version = await store_file(exchange, fields, part, first=not outcomes)
        except (ClientLeftError, FormError):
            raise
        except HoldfastError as error:
            errors.append(error)
            outcomes.append(failed_outcome(fields.bucket, key, error, filename=part.filename or ""))
            if tell is not None:
                tell(fields.bucket, key, error)
        else:
            outcomes.append(stored_outcome(version, part.filename))
            if tell is not None:
                tell(version.ref.bucket, version.ref.key, version)
        exchange.more = {"files": [msgspec.to_builtins(outcome) for outcome in outcomes]}
    if not outcomes:
        raise InvalidRequestError("the form holds no file; send it as a part called 'file' with a filename")
    return outcomes, errors
