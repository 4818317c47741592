"""The service against faults, strangers, floods and impatience: what is refused, how, and that work stops."""

import gzip
import io
import json
import logging
import pickle
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from kronos.serving.config import Limits, Settings, is_loopback
from tests.serving.test_api import offered  # noqa: F401
from tests.serving_server import Server, bars, columns, until

TOKEN = "correct horse battery staple"


@pytest.fixture(scope="module")
def server(offered):  # noqa: F811
    with Server(offered, Settings(port=0, limits=Limits(body=2**20, unpacked=2**21, rows=5000, series=4))) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with server.client() as made:
        yield made


def good(**more):
    return {"bars": columns(bars(40)), "horizon": 3, "paths": 2, **more}


def changed(**columns_):
    body = good()
    body["bars"] |= columns_
    return body


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 422, "give bars, or the name of a sample"),
        (good(sample="sp500"), 422, "not both"),
        (good(horizon=0), 422, "horizon: Input should be greater than or equal to 1"),
        (good(horizon=1001), 422, "horizon is 1001; at most 1000"),
        (good(paths=501), 422, "at most 500"),
        (good(horizon=1000, paths=500, bars=None, sample="sp500"), 200, ""),
        (good(horizon=5, hurizon=6), 422, "hurizon"),
        (good(horizon="3"), 422, "horizon"),
        (good(quantiles=[0.1, 0.1]), 422, "0.1 twice"),
        (good(quantiles=[1.5]), 422, "quantiles.0"),
        (good(target=[]), 422, "target must name"),
        (good(model="../../etc"), 422, "no model"),
        (good(lookback=41), 422, "lookback 41 is more than the 40 bars"),
        (good(holdout=39), 422, "needs 2 more"),
        (good(calendar="XNOPE"), 422, "XNOPE"),
        (good(tz="Mars/Base"), 422, "unknown time zone"),
        (good(seed=-1), 422, "seed"),
        (changed(open=[1.0]), 422, "bars.open has 1 values for 40 timestamps"),
        (changed(timestamps=["never"] * 40), 422, "data row 1"),
        (changed(timestamps=[0] * 40), 422, "small numbers"),
        (changed(close=[None] + [1.0] * 39), 422, "missing value"),
        (changed(high=[1e300] * 40), 422, "too large"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_in_words(client, body, status, says):
    if status == 200:
        body = {**body, "paths": 1, "horizon": 40}
        del body["bars"]
    answer = client.post("/v1/forecast", json=body)
    assert answer.status_code == status, answer.text
    if status != 200:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in problem["detail"] + json.dumps(problem.get("errors", "")), problem
        assert "Traceback" not in answer.text and "/work/" not in answer.text and ".py" not in answer.text


def test_faults_of_bars_are_told_with_their_rows_and_cleaned_on_demand(client):
    frame = bars(50)
    frame.loc[9, "close"] = -1
    frame = pd.concat([frame, frame.iloc[[3]]])
    answer = client.post("/v1/forecast", json=good(bars=columns(frame))).json()
    faults = {fault["kind"]: fault["rows"] for fault in answer["faults"]}
    assert faults["non-positive price"] == [10] and faults["duplicate timestamp"] == [51]
    cleaned = client.post("/v1/forecast", json=good(bars=columns(frame), clean="drop")).json()
    assert "kept 49 of 51 rows" in cleaned["notes"][0]


def upload(client, content, name="prices.csv", route="/v1/inspect", **fields):
    return client.post(route, files={"file": (name, content)}, data=fields)


def csv(frame):
    return frame.to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("content", "name", "status", "says"),
    [
        (b"", "a.csv", 422, "empty"),
        (b"a,b\n1,2\n", "a.csv", 422, "no column for timestamps"),
        (b"\x00\x01\x02" * 50, "a.csv", 422, "binary content"),
        (b"PK\x03\x04....", "a.xlsx", 422, "Excel"),
        (b"PAR1 nonsense PAR1", "a.parquet", 422, "damaged Parquet"),
        (b"ARROW1\x00\x00", "a.feather", 422, "Feather"),
        (b"\x1f\x8bnonsense", "a.csv.gz", 422, "damaged .gz"),
        (gzip.compress(b"0" * 3 * 2**20), "a.csv.gz", 413, "unpacks to more than 2 MiB"),
        (b"1,2\n" * 6000, "a.csv", 413, "5,000 are allowed"),
        (b"1,2\r" * 6000, "a.csv", 413, "5,000 are allowed"),
        (gzip.compress(b"a," * 500_000), "a.csv.gz", 413, "500,001 columns; 2,000 are allowed"),
        (b"x" * (2**20 + 1), "a.csv", 413, "1 MiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words(client, content, name, status, says):
    answer = upload(client, content, name)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


def test_a_parquet_file_that_says_it_is_small_and_is_not_is_refused_by_its_footer(client):
    buffer = io.BytesIO()
    pd.DataFrame({name: np.ones(2_000_000) for name in ("open", "high", "low", "close")}).assign(time=1).to_parquet(
        buffer
    )
    assert len(buffer.getvalue()) < 2**20
    answer = upload(client, buffer.getvalue(), "a.parquet")
    assert answer.status_code == 413 and "2,000,000 rows" in answer.json()["detail"]


def test_a_parquet_file_of_too_many_columns_is_refused_by_its_footer(client):
    buffer = io.BytesIO()
    wide = pd.DataFrame(np.ones((1, 2001)), columns=[f"c{i}" for i in range(2001)])
    wide.to_parquet(buffer, index=False, write_statistics=False, use_dictionary=False)
    assert len(buffer.getvalue()) < 2**20
    answer = upload(client, buffer.getvalue(), "a.parquet")
    assert answer.status_code == 413 and "2,001 columns" in answer.json()["detail"]


class Bomb:
    target: Path

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_a_pickle_is_never_loaded(client, tmp_path):
    Bomb.target = tmp_path / "exploded"
    for name in ("a.pkl", "a.csv", "a.parquet"):
        assert upload(client, pickle.dumps(Bomb()), name).status_code == 422
    assert not Bomb.target.exists()


def test_names_of_files_are_shown_and_never_opened(client, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_bytes(csv(bars(40)))
    answer = upload(client, csv(bars(30)), f"../..{secret}").json()
    assert answer["name"] == "secret.csv" and answer["rows"] == 30
    refused = upload(client, b"a,b\n1,2\n", "x/y\\<b>.csv").json()
    assert refused["detail"].startswith("<b>.csv: ") and "/tmp" not in refused["detail"]
    assert refused["detail"].endswith('read with "columns": "timestamps=a,close=b" "close_only": true')
    for path in (
        "/static/../guard.py",
        "/static/%2e%2e/guard.py",
        "/static//etc/passwd",
        "/etc/passwd",
        "/docs",
        "/redoc",
    ):
        assert client.get(path).status_code == 404
    sent = client.post("/v1/forecast", data={"file": str(secret), "horizon": "3"}, headers={})
    assert sent.status_code == 422


def test_every_answer_has_the_headers_that_browsers_protect_users_by(client):
    for answer in (
        client.get("/"),
        client.get("/v1/models"),
        client.get("/nothing"),
        client.post("/v1/forecast", json={}),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_pages_of_other_sites_and_rebound_names_are_refused(client):
    body = good()
    foreign = client.post("/v1/forecast", json=body, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["type"]) == (403, "urn:kronos:origin")
    assert client.get("/v1/models", headers={"Host": "evil.example"}).json()["type"] == "urn:kronos:host"
    own = str(client.base_url).rstrip("/")
    assert client.post("/v1/forecast", json=body, headers={"Origin": own}).status_code == 200
    asked = client.options("/v1/forecast", headers={"Origin": own, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 405


def test_with_a_token_only_its_bearers_are_served_and_the_page_and_probes_are_open(offered):  # noqa: F811
    with Server(offered, Settings(port=0, token=TOKEN)) as running, running.client() as client:
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
            assert client.get(path, headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
            assert client.get(path, headers=[(b"Authorization", "Bearer café".encode())]).status_code == 401
            assert client.get(path, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
        refused = client.post("/v1/forecast", json=good())
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
        for path in ("/", "/static/main.js", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200


def test_other_addresses_need_a_token():
    with pytest.raises(ValueError, match="no token is set"):
        Settings(host="0.0.0.0")
    with pytest.raises(ValueError, match="at least 16"):
        Settings(host="0.0.0.0", token="short")
    assert Settings(host="0.0.0.0", token=TOKEN).token == TOKEN
    assert Settings(host="0.0.0.0", without_token=True).token is None
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "10.0.0.1", "0.0.0.0", "example.org")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


class Slow(NamedTuple):
    server: Server
    go: threading.Event
    ran: list[int]


@pytest.fixture
def slow(offered, monkeypatch):  # noqa: F811
    """A server of four places whose engine waits for `go`."""
    go = threading.Event()
    predictor = offered["tiny"].predictor
    real = type(predictor).sample_prepared
    ran: list[int] = []

    def sample(self, series, *arguments, progress=None, **more):
        ran.append(len(series))
        while not go.wait(0.01):
            if progress is not None:
                progress(0, 1)
        return real(self, series, *arguments, progress=progress, **more)

    monkeypatch.setattr(type(predictor), "sample_prepared", sample)
    with Server(offered, Settings(port=0, limits=Limits(waiting=4))) as running:
        yield Slow(running, go, ran)
        go.set()


def test_when_the_queue_is_full_one_more_is_refused_at_once_and_all_that_were_accepted_are_answered(slow):
    answers = []

    def call():
        with slow.server.client() as own:
            answers.append(own.post("/v1/forecast", json=good()).status_code)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: slow.server.guard.active == 4)
    with slow.server.client() as client:
        client.get("/healthz")  # the connection is there
        times = []
        for _ in range(20):
            began = time.monotonic()
            refused = client.post("/v1/forecast", json=good())
            times.append(time.monotonic() - began)
            assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert sorted(times)[10] < 0.05
        assert client.get("/v1/models").status_code == 200
        slow.go.set()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4
        assert client.post("/v1/forecast", json=good()).status_code == 200


def test_past_its_deadline_a_request_is_answered_and_its_work_stops(slow):
    with slow.server.client() as client:
        began = time.monotonic()
        answer = client.post("/v1/forecast", json=good(timeout=0.3))
        assert answer.status_code == 504 and answer.json()["type"] == "urn:kronos:deadline"
        assert time.monotonic() - began < 2
    until(lambda: slow.server.batcher._working == 0)  # though the engine was never let go


def test_work_whose_caller_has_gone_stops(slow):
    body = json.dumps(good()).encode()
    host, port = slow.server.url.removeprefix("http://").split(":")
    for accepted in (b"", b"Accept: text/event-stream\r\n"):
        before = sum(slow.ran)
        with socket.create_connection((host, int(port)), timeout=30) as caller:
            head = (
                b"POST /v1/forecast HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            )
            caller.sendall(head % (host.encode(), port.encode(), len(body)) + accepted + b"\r\n" + body)
            until(
                partial(lambda before: sum(slow.ran) == before + 1, before)
            )  # the engine is at it, and then the caller goes
        until(lambda: slow.server.guard.active == 0 and slow.server.batcher._working == 0)
    assert sum(slow.ran) == 2


def test_a_series_that_breaks_the_engine_does_not_break_its_neighbours(offered, monkeypatch, caplog):  # noqa: F811
    predictor = offered["tiny"].predictor
    real = type(predictor).sample_prepared

    def sample(self, series, sampling, count, seeds, **more):
        if 13 in seeds:
            raise RuntimeError("secret of the engine")
        return real(self, series, sampling, count, seeds, **more)

    monkeypatch.setattr(type(predictor), "sample_prepared", sample)
    with Server(offered, Settings(port=0, window=0.5)) as running, running.client() as client:
        results = {}
        threads = [
            threading.Thread(target=lambda s=s: results.update({s: client.post("/v1/forecast", json=good(seed=s))}))
            for s in (12, 13, 14)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {seed: answer.status_code for seed, answer in results.items()} == {12: 200, 13: 500, 14: 200}
    assert "secret" not in results[13].text
    assert results[13].headers["content-type"] == "application/problem+json"


def test_the_access_log_is_json_and_holds_nothing_of_what_was_sent(client, caplog):
    access = logging.getLogger("kronos.access")
    access.propagate = True
    with caplog.at_level(logging.INFO, logger="kronos.access"):
        client.post("/v1/forecast?hidden=1", json=good(id="SECRET-NAME"))
        client.get("/SECRET-PATH")
        until(lambda: len(caplog.records) >= 2)
    lines = [json.loads(record.message) for record in caplog.records]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/forecast", 200), ("other", 404)]
    assert "SECRET" not in caplog.text and "hidden" not in caplog.text


def test_json_that_is_none_and_content_of_other_kinds_are_told_apart(client):
    kind = {"Content-Type": "application/json"}
    assert client.post("/v1/forecast", content=b"{", headers=kind).status_code == 400
    assert client.post("/v1/forecast", content=b"[]", headers=kind).status_code == 422
    assert client.post("/v1/forecast", content=b"x").status_code == 415
    assert client.post("/v1/forecast/batch", data={"a": "b"}).status_code == 415
    assert client.post("/v1/inspect", content=b"--", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    assert client.get("/v1/forecast").status_code == 405
    assert client.get("/v1/samples/none").status_code == 404


def head(path, kind):
    """The beginning of a request whose body is still to come."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 999\r\n\r\n".encode()


def test_a_caller_who_goes_while_sending_is_no_fault_of_the_server(server, client):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(head("/v1/forecast", "application/json") + b"{")
        time.sleep(0.2)
    until(lambda: 'route="/v1/forecast",status="499"' in client.get("/metrics").text)
    assert 'status="500"' not in client.get("/metrics").text


def test_a_body_that_never_comes_holds_its_place_for_a_limited_time(offered):  # noqa: F811
    with Server(offered, Settings(port=0, limits=Limits(reading=0.5))) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow_sender:
            slow_sender.sendall(head("/v1/inspect", "multipart/form-data; boundary=a") + b"-")
            answer = b""
            while not answer.endswith(b"}"):
                answer += slow_sender.recv(2000)
        assert answer.startswith(b"HTTP/1.1 408") and b"urn:kronos:slow" in answer
        until(lambda: running.guard.active == 0)
