"""Versions that are not where they belong."""

from __future__ import annotations

from holdfast.api import reconciling
from holdfast.api.routing import Param, Route


def reconciliation(door: reconciling.Reconciling | type[reconciling.Reconciling]) -> tuple[Route, ...]:
    """Return the routes of debts and of bringing versions home; a class instead of an object does for a description."""
    return (
        Route(
            "GET",
            "/api/v1/debts",
            reconciling.list_debts,
            "List versions that are not where they belong; for operators",
            (
                Param("tenant", "only of this tenant"),
                Param("bucket", "only of buckets of this name"),
                Param("after", "the `next_after` of the page before"),
                Param("limit", "1 to 1,000 versions", {"type": "integer", "default": 100}),
            ),
            answers={200: reconciling.DebtList},
        ),
        Route(
            "GET",
            "/api/v1/lag",
            reconciling.show_lag,
            "Show the copies that each store should have and does not have yet; for operators",
            (Param("store", "only of this store"),),
            answers={200: reconciling.LagList},
        ),
        Route(
            "POST",
            "/api/v1/reconcile",
            door.run,
            "Bring versions where the rules want them, or say what that would do; for operators",
            body=reconciling.ReconcileWish,
            answers={200: reconciling.ReconcileAnswer},
        ),
    )
