"""A server that lists COUNT objects as S3 does, and holds none: `python -m bench.adopt_store COUNT`. A fake, for `adopt`.

Its address is the first line that it prints.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

_PAGE = 1000
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>theirs</Name><Prefix></Prefix>'
)
_ITEM = (
    "<Contents><Key>{key}</Key><LastModified>2026-11-01T12:00:00.000Z</LastModified>"
    "<ETag>&quot;{etag:032x}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def key_of(number: int) -> str:
    """Return the key of an object: a thousand to a folder."""
    return f"set-{number // 1000:05}/item-{number:09}.bin"


def page(first: int, count: int) -> str:
    """Return the page that begins with an object."""
    last = min(first + _PAGE, count)
    items = (
        _ITEM.format(key=key_of(number), etag=number, size=number % 65_536) for number in range(first, last)
    )
    more = last < count
    token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
    told = f"<KeyCount>{last - first}</KeyCount><MaxKeys>{_PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
    return f"{_HEAD}{told}{token}{''.join(items)}</ListBucketResult>"


def _begins(query: web.Request, count: int) -> int:
    """Return the number of the first object that is asked for."""
    if token := query.query.get("continuation-token"):
        return int(token)
    after = query.query.get("start-after", "")
    if not after:
        return 0
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if key_of(middle) <= after else (low, middle)
    return low


def main() -> None:
    """Serve until killed."""
    count = int(sys.argv[1])

    async def answer(request: web.Request) -> web.Response:
        if "list-type" not in request.query:
            return web.Response(status=404)
        return web.Response(text=page(_begins(request, count), count), content_type="application/xml")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)

    async def serve() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        print(f"http://127.0.0.1:{port}", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
