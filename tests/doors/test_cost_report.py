"""What storing costs, by command and over REST: the same answers, and the typical comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import holdfast
from tests.doors.cli_tools import Server, noise, serving
from tests.doors.test_presign import fetch

pytestmark = pytest.mark.doors

CONFIG = """
price_book = "{folder}/prices.toml"
[stores.disk]
driver = "local"
path = "{folder}/disk"
create = true
price = "rack"
labels = ["hot", "internal"]
[placement]
stores = ["disk"]
inline = 0
"""
PRICES = """
[prices."rack"]
disk = 1_000_000
copies = 2
fill = 0.5
as_of = "2026-11-01"
source = "our invoice"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cost")
    (made / "prices.toml").write_text(PRICES)
    (made / "holdfast.toml").write_text(CONFIG.format(folder=made))
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder / "data", "--config", str(folder / "holdfast.toml")) as running:
        with holdfast.open(running.url, token=running.token) as client:
            client.create_bucket("plain")
            client.put("plain", "a", noise(3000))
        yield running


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    from holdfast.cli.app import app

    where = ["--config", str(folder / "holdfast.toml"), "--data", str(folder / "data")]
    done = CliRunner().invoke(app, ["cost", *arguments, *where])
    assert done.exit_code == status, done.output
    return done.stdout


def ask(server: Server, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    bearer = f"Bearer {token or server.token}"
    answer = fetch(
        server.url + path,
        "GET" if body is None else "POST",
        data,
        Authorization=bearer,
        Content_Type="application/json",
    )
    return answer[0], json.loads(answer[2])


def test_the_report_is_the_same_by_command_and_over_rest(server: Server, folder: Path) -> None:
    status, found = ask(server, "/api/v1/cost?by=bucket&measure=true")
    assert status == 200, found
    # 3,000 bytes of a disk that costs a million a GB, twice, half full
    line = {
        "name": "default/plain",
        "bytes": 3000,
        "blobs": 1,
        "logical_bytes": 3000,
        "amount": "12",
        "prices": ["rack"],
    }
    assert found["lines"] == [line]
    assert (found["total"], found["known_total"], found["currency"], found["by"]) == (
        "12",
        "12",
        "USD",
        "bucket",
    )
    assert found["provenance"] == [
        {"price": "rack", "as_of": "2026-11-01", "source": "our invoice", "unsure": False, "known": True}
    ]
    shown = run(folder, "report", "--by", "bucket")
    assert [word in shown for word in ("default/plain", "$12.00", "rack", "3000")] == [
        True,
        True,
        True,
        False,
    ]
    told = json.loads(run(folder, "report", "--by", "class", "--measure", "--json"))
    assert (told["class"], told["amount"], told["prices"][0]["source"]) == ("hot", "12", "our invoice")
    for path in ("?by=weight", "?measure=perhaps"):
        assert ask(server, f"/api/v1/cost{path}")[0] == 400
    assert ask(server, "/api/v1/cost?tenant=nobody")[0] == 404
    run(folder, "report", "--by", "weight", status=7)


def test_an_admin_sees_its_own_tenant_only(server: Server) -> None:
    assert ask(server, "/api/v1/tenants", {"name": "acme"})[0] == 201
    with holdfast.open(server.url, token=server.token) as client:
        client.put("plain", "b", noise(1000))
    token = ask(server, "/api/v1/keys", {"name": "a", "role": "admin", "tenant": "acme"})[1]["token"]
    status, found = ask(server, "/api/v1/cost?by=bucket", token=token)
    assert (status, found["lines"], found["provenance"]) == (200, [], [])
    assert ask(server, "/api/v1/cost?tenant=default", token=token)[0] == 403
    assert ask(server, "/api/v1/cost/compare", {"from_catalog": True}, token=token)[0] == 403
    writer = ask(server, "/api/v1/tokens", {"role": "writer"})[1]["token"]
    for path in ("/api/v1/cost", "/api/v1/cost/prices"):
        assert ask(server, path, token=writer)[0] == 403


def test_the_typical_comparison_by_both_ways(server: Server, folder: Path) -> None:
    status, found = ask(server, "/api/v1/cost/compare", {})
    assert status == 200
    assert (found["single_total"], found["split_total"], found["saving_percent"]) == (
        "2.400015",
        "1.5",
        "37.5",
    )
    assert [source["price"] for source in found["provenance"]] == ["cloudflare.r2.standard", "free"]
    assert json.loads(run(folder, "compare", "--json")) == found
    shown = run(folder, "compare")
    assert [word in shown for word in ("$2.40", "$1.50", "$0.90 saved (37.5 %)")] == [True] * 3
    wish = {
        "single": "aws.s3.standard",
        "portions": [
            {"name": "films", "size": "1TB", "price": "wasabi", "egress": "100GB"},
            {"name": "rest", "size": 10**9, "price": "rack"},
        ],
    }
    both = ask(server, "/api/v1/cost/compare", wish)[1]
    assert (both["single_total"], both["portions"][0]["split"]) == ("32.023", "7.99")
    parts = ("--portion", "films=1TB@wasabi", "--portion", "rest=1GB@nobody's")
    unknown = json.loads(run(folder, "compare", "--single", "aws.s3.standard", *parts, "--json"))
    assert (unknown["single_total"], unknown["split_total"], unknown["saving"]) == ("23.023", None, None)
    assert "unknown" in run(folder, "compare", *parts)
    for wrong in ({"portions": [{"name": "x", "size": "much", "price": "free"}]}, {"from_catalog": True, **wish}, {"billing": "x"}, {"portions": [{"name": "x", "size": -1, "price": "free"}]}):  # fmt: skip
        assert ask(server, "/api/v1/cost/compare", wrong)[0] == 400, wrong
    run(folder, "compare", "--portion", "films=1TB", status=7)
    run(folder, "compare", "--portion", "films=1TB@wasabi", "--from-catalog", status=7)


def test_what_is_stored_is_compared(server: Server, folder: Path) -> None:
    ask(server, "/api/v1/cost?measure=true")
    found = ask(server, "/api/v1/cost/compare", {"single": "free", "from_catalog": True})[1]
    portion = found["portions"][0]
    assert (portion["name"], portion["price"], portion["single"]) == ("default/plain in disk", "rack", "0")
    assert json.loads(run(folder, "compare", "--single", "free", "--from-catalog", "--json")) == found


def test_the_price_book_is_shown(server: Server, folder: Path) -> None:
    status, found = ask(server, "/api/v1/cost/prices")
    assert status == 200
    rows = {row["key"]: row for row in found["prices"]}
    assert rows["rack"]["storage"] == [{"up_to_gb": None, "price": "4000000"}]
    assert rows["azure.blob.hot"]["unsure"]
    assert rows["yandex.objectstorage.standard"]["write"] is None
    assert rows["aws.s3.standard"]["storage"][0] == {"up_to_gb": "50000", "price": "0.023"}
    told = [json.loads(line) for line in run(folder, "prices", "--json").splitlines()]
    assert told == found["prices"]
    shown = run(folder, "prices")
    assert "our invoice" in shown
    assert "check" in shown


def test_what_stores_were_asked_is_the_same_by_command_and_over_rest(server: Server, folder: Path) -> None:
    status, found = ask(server, "/api/v1/cost/ledger?days=2")
    assert status == 200, found
    (line,) = found["lines"]
    assert (line["store"], line["price"]) == ("disk", "rack")
    assert line["calls"]["write"] >= 1
    assert line["sent_bytes"] >= 3000
    told = json.loads(run(folder, "ledger", "--days", "2", "--json"))
    assert told["lines"][0]["calls"]["write"] == line["calls"]["write"]
    assert "disk" in run(folder, "ledger")


def test_what_if_savings_and_advice_by_command_and_over_rest(server: Server, folder: Path) -> None:
    wish = {"prices": {"disk": "cloudflare.r2.standard"}}
    status, found = ask(server, "/api/v1/cost/what-if", wish)
    assert status == 200, found
    now = ask(server, "/api/v1/cost")[1]["total"]
    assert found["before"] == now
    assert found["stores"][0]["supposed"] == "cloudflare.r2.standard"
    told = json.loads(run(folder, "what-if", "--price", "disk=cloudflare.r2.standard", "--json"))
    assert (told["before"], told["saving_percent"]) == (now, found["saving_percent"])
    status, found = ask(server, "/api/v1/cost/savings?single=cloudflare.r2.standard")
    assert status == 200, found
    assert abs(float(found["months"][-1]["paid"]) - float(now) / 30) < 1e-5
    assert json.loads(run(folder, "savings", "--single", "cloudflare.r2.standard", "--json"))["months"]
    status, found = ask(server, "/api/v1/cost/advice?suppose=cold=backblaze.b2")
    assert status == 200, found
    assert found["objects"] == found["objects_in_use"] > 0
    assert found["advice"] == []
    assert (
        json.loads(run(folder, "advice", "--suppose", "cold=backblaze.b2", "--json"))["objects"]
        == found["objects"]
    )
    run(folder, "what-if", "--price", "disk", status=7)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/api/v1/cost/ledger?days=0", "days"),
        ("/api/v1/cost/savings?single=gold", "gold"),
        ("/api/v1/cost/advice?suppose=cold", "NAME=PRICE"),
        ("/api/v1/cost/advice?horizon=3", "horizon"),
    ],
)
def test_wrong_questions_about_spending_say_what_is_wrong(server: Server, path: str, wrong: str) -> None:
    status, found = ask(server, path)
    assert status == 400
    assert wrong in json.dumps(found)
