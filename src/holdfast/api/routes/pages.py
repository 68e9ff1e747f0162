"""Pages for people, and browser sessions."""

from __future__ import annotations

from holdfast.api.pages.docs import DocsPage, nothing_here, to_page
from holdfast.api.pages.session import BrowserSessions, NewSession, SessionInfo
from holdfast.api.routing import Route


def pages(
    docs: DocsPage | type[DocsPage] = DocsPage,
    sessions: BrowserSessions | type[BrowserSessions] = BrowserSessions,
) -> tuple[Route, ...]:
    """Return the routes of pages and sessions; the classes themselves serve to describe them."""
    return (
        Route(
            "GET", "/docs", docs.show, "Operations, as a page for people", answers={200: "html"}, open=True
        ),
        Route("GET", "/", nothing_here, "Where to look", answers={404: None}, open=True),
        Route("GET", "/docs/", to_page, "The page, under its other address", answers={308: None}, open=True),
        Route(
            "POST",
            "/api/v1/session",
            sessions.open,
            "Open a browser session with a token",
            body=NewSession,
            answers={201: SessionInfo},
            open=True,
        ),
        Route(
            "DELETE",
            "/api/v1/session",
            sessions.close,
            "Close the browser session",
            answers={204: None},
            open=True,
        ),
    )
