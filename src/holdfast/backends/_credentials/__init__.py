"""Where credentials that end come from: a command, a URL, a file, a web identity.

Comes in: `settings.KeySettings`, which a driver's settings have among their own. Goes out: a `Fetch` from `fetch_of`, a
function that gets one `Document`, and from the document `Credentials` with their end. Who keeps them and fetches them ahead
of their end is `core.renewing.Renewing`.

Promises: waits and answers are bounded; what a command or a server says is never repeated in a message, for it may be a
secret; nothing is written anywhere.
"""

from __future__ import annotations

from holdfast.backends._credentials.document import Credentials, Document, ends, keys_of
from holdfast.backends._credentials.file import stamp
from holdfast.backends._credentials.sources import FETCHED, TENANT, Fetch, fetch_of

__all__ = [
    "FETCHED",
    "TENANT",
    "Credentials",
    "Document",
    "Fetch",
    "ends",
    "fetch_of",
    "keys_of",
    "stamp",
]
