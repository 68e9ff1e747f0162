"""The date of an answer is that of the clock when it is given."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.doors.rest_service import serving

pytestmark = pytest.mark.doors


def test_an_answer_tells_the_time_at_which_it_is_given(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        for number in range(30):
            time.sleep(0.07)  # so that seconds begin between some answers
            before = int(time.time())
            put = service.ask("PUT", f"/api/v1/objects/plain/{number}", b"x")
            told = parsedate_to_datetime(put.headers["date"]).timestamp()
            assert before <= told <= time.time()
            head = service.ask("HEAD", f"/api/v1/objects/plain/{number}").headers
            assert parsedate_to_datetime(head["last-modified"]) <= parsedate_to_datetime(head["date"])


def test_there_is_one_date(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        answer = service.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.lower().count(b"\ndate: ") == 1
