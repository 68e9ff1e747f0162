"""A corpus of requests that must not be believed: refused or cut off, and nothing behind them is looked at."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.doors.rest_service import Service
from torture.raw import ambiguous, mutant, read_answers, report
from torture.raw_corpus import BEHIND, CORPUS, ENDING, SOUND

pytestmark = pytest.mark.doors


def exchange(service: Service, data: bytes) -> tuple[list[int], bool]:
    """Send bytes; return the statuses that came back, and whether the service closed the connection."""
    found, closed = b"", True
    with service.connect(8.0) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass
        try:
            while chunk := sock.recv(65536):
                found += chunk
        except TimeoutError:
            closed = False
        except ConnectionResetError:
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)], closed


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 230
    assert len(set(CORPUS.values())) == len(CORPUS)


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_refused_and_what_follows_is_not_looked_at(rest_service: Service, name: str) -> None:
    rest_service.put("victim", b"x")
    statuses, closed = exchange(rest_service, CORPUS[name] + BEHIND)
    assert closed
    assert len(statuses) <= 1
    assert all(400 <= status < 500 for status in statuses), statuses
    assert rest_service.get("victim").status == 200
    assert rest_service.get("attack").status == 404


@pytest.mark.parametrize("name", ENDING)
def test_what_follows_the_end_is_not_looked_at(rest_service: Service, name: str) -> None:
    rest_service.put("victim", b"x")
    statuses, closed = exchange(rest_service, ENDING[name] + BEHIND)
    assert closed
    assert statuses[0] == 200
    assert all(400 <= status < 500 for status in statuses[1:])
    assert rest_service.get("victim").status == 200


@pytest.mark.parametrize("name", SOUND)
def test_odd_but_right_requests_are_served(rest_service: Service, name: str) -> None:
    rest_service.put("behind", b"x")
    last = BEHIND.replace(b"victim", b"behind").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    statuses, _ = exchange(rest_service, SOUND[name] + last)
    assert [status for status in statuses if status != 100] == [201, 204]
    assert rest_service.ask("DELETE", "/api/v1/objects/plain/attack").status == 204


def test_broken_further_they_are_still_not_believed(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(150, 7)
    assert "150 requests" in capsys.readouterr().out


def test_the_judge_knows_what_is_wrong() -> None:
    assert "length and a coding" in ambiguous(CORPUS["coding, then length: chunked"])
    assert "folded" in ambiguous(CORPUS["field: a folded line"])
    assert "half a line break" in ambiguous(CORPUS["message: bare line feeds"])
    assert "two host" in ambiguous(CORPUS["field: two hosts"])
    assert "NUL" in ambiguous(CORPUS["field: NUL in a value"])
    assert not any(map(ambiguous, SOUND.values()))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert read_answers(answer + answer) == ((200, 200), True)
    assert read_answers(answer + b"x") == ((200,), False)
    assert read_answers(answer[:-20]) == ((), False)
    assert mutant(Random(3)) == mutant(Random(3)) != mutant(Random(4))
