"""The doors for Python callers: the same verbs over an engine in this process and over a server's REST door.

Comes in: bucket names, keys, and bytes in whatever shape the caller has them. Goes out: the nouns of `holdfast.core`
(`Version`, `Bucket`, `ListPage`…) and bytes in bounded chunks. Promises: one interface (`AsyncClient`, and `Client` for
callers without an event loop) whatever is behind it; only the error kinds of `holdfast.core.errors` come out; a local
file is complete and verified or not there at all; closing, collecting or exiting never hangs.

`holdfast.open` and `holdfast.open_async` choose what is behind; nothing here but the facades reads configuration.
"""
