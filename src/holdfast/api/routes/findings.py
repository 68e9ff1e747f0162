"""Findings and proofs. For operators."""

from __future__ import annotations

from typing import Final

from holdfast.api import findings
from holdfast.api.routing import Param, Route

_FINDINGS: Final = "/api/v1/findings"

FINDINGS: Final = (
    Route(
        "GET",
        _FINDINGS,
        findings.list_findings,
        "List what was found wrong with stores",
        (
            Param("store", "only of this store"),
            Param("kind", "only of this kind: dark, lost, wrong-size, wrong-hash, wrong-metadata"),
            Param("state", "only in this state: seen, quarantined, released, removed"),
            Param("blob", "with store: what is told of this blob"),
            Param("limit", "1 to 1,000; 100 when missing"),
            Param("after", "`next_after` of the last page"),
        ),
        answers={200: findings.FindingList},
    ),
    Route(
        "POST",
        f"{_FINDINGS}/quarantine",
        findings.quarantine,
        "Quarantine dark bytes",
        (),
        findings.FindingWish,
        {200: findings.FindingInfo},
    ),
    Route(
        "POST",
        f"{_FINDINGS}/release",
        findings.release,
        "Leave dark bytes alone",
        (),
        findings.FindingWish,
        {200: findings.FindingInfo},
    ),
    Route(
        "POST",
        f"{_FINDINGS}/remove",
        findings.remove,
        "Leave quarantined bytes to the sweep",
        (),
        findings.FindingWish,
        {200: findings.FindingInfo},
    ),
    Route(
        "GET",
        "/api/v1/proved",
        findings.proved,
        "Show how far copies are proved",
        (Param("days", "0 to 36,600; 30 when missing"),),
        answers={200: findings.ProvenAnswer},
    ),
)
