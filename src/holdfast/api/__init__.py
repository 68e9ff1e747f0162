"""The REST door.

Comes in: HTTP requests, a token, an engine. Goes out: the engine's verbs by bucket and key, in the JSON and headers
that `/openapi.json` describes. Promises: every object is reached through a `Session`, so nothing passes unasked and
unaudited; bodies flow both ways with bounded memory; every error has one shape; what users stored is never run by a
browser.
"""

from holdfast.api.application import create_app

__all__ = ["create_app"]
