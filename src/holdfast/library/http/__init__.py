"""The verbs over a server's REST door.

Comes in: the same calls as everywhere. Goes out: the same nouns and errors, mapped back from what travels. Promises:
a call is repeated only where that cannot do it twice; a broken download goes on where it broke, from the same version;
the token appears in no message.
"""

from holdfast.library.http.client import HttpClient

__all__ = ["HttpClient"]
