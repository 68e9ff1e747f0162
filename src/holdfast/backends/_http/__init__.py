"""HTTP as drivers use it: one session a store, bounded answers, foreign errors translated, no retry of its own."""

from __future__ import annotations

from holdfast.backends._http.session import SLICE, Http, read_bounded, retry_after, slices, tls_context

__all__ = ["SLICE", "Http", "read_bounded", "retry_after", "slices", "tls_context"]
