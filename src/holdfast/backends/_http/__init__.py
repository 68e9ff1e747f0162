"""HTTP as drivers use it: one session a store, bounded answers, foreign errors translated, no retry but when asked."""

from __future__ import annotations

from holdfast.backends._http.reading import parse_json, read_bounded, retry_after, seconds, whole
from holdfast.backends._http.session import (
    SLICE,
    Http,
    begun,
    slices,
    tls_context,
    trusted,
)
from holdfast.backends._http.values import sendable
from holdfast.backends._http.waiting import RETRIED, Tries, pause, swaying

__all__ = [
    "RETRIED",
    "SLICE",
    "Http",
    "Tries",
    "begun",
    "parse_json",
    "pause",
    "read_bounded",
    "retry_after",
    "seconds",
    "sendable",
    "slices",
    "swaying",
    "tls_context",
    "trusted",
    "whole",
]
