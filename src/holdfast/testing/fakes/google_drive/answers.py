"""Answers in Google's form."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

_DOMAINS: Final = {
    "userRateLimitExceeded": "usageLimits",
    "rateLimitExceeded": "usageLimits",
    "dailyLimitExceeded": "usageLimits",
}


class Refused(Exception):
    """The request gets an error with that status and reason."""

    def __init__(self, status: int, reason: str, message: str = "", retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after
        self.message = message or reason

    def answer(self) -> web.Response:
        """Return the error with the real body."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        one = {
            "domain": _DOMAINS.get(self.reason, "global"),
            "reason": self.reason,
            "message": self.message,
        }
        if self.status == 401:
            one |= {"locationType": "header", "location": "Authorization"}
        body = {"error": {"errors": [one], "code": self.status, "message": self.message}}
        return answer(body, self.status, headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return JSON."""
    return web.Response(
        text=json.dumps(body, ensure_ascii=False),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="UTF-8",
    )


def not_found(id: str) -> Refused:
    """Return what Drive says of a file that is not there, or not shown."""
    return Refused(404, "notFound", f"File not found: {id}.")
