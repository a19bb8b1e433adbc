"""What a server answers, over HTTP and WebSocket: good requests, every kind of bad one, limits and tokens."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from seqkit.streaming import Stream, from_bytes, to_bytes
from seqkit.streaming.server import Clients, Limits
from seqkit.streaming.server.batcher import Batcher
from seqkit.streaming.server.guard import Guard
from seqkit.streaming.server.jobs import RefusedError
from seqkit.streaming.server.limits import Bucket

_spec = importlib.util.spec_from_file_location("seqkit_served", Path(__file__).with_name("served.py"))
served = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(served)
TOKENS = {"x": "token-of-client-x", "y": "token-of-client-y"}


@pytest.fixture(scope="module")
def engine():
    return served.small_engine()


@pytest.fixture(scope="module")
def open_server(engine) -> Iterator[httpx.Client]:
    """A server for anyone, with a small limit on bodies."""
    keeper = served.keeper_at(":memory:", engine)
    with (
        served.server(keeper=keeper, limits=Limits(body=4000), hosts=["127.0.0.1", "localhost"]) as address,
        httpx.Client(base_url=f"http://{address}", timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """Address of a server with two clients."""
    with served.server(tokens=TOKENS) as address:
        yield address


def push(client: httpx.Client, stream: str, values: object, **more: object) -> httpx.Response:
    return client.post(f"/v1/streams/{stream}/push", json={"values": values, **more})


def as_client(address: str, name: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {TOKENS[name]}"}
    return httpx.Client(base_url=f"http://{address}", headers=headers, timeout=60)


def test_a_stream_from_its_first_sample_to_its_end(open_server: httpx.Client, engine) -> None:
    stream = Stream(engine.engine)
    assert open_server.put("/v1/streams/life").json() == {"stream": "life", "count": 0}
    first = push(open_server, "life", [1.0, 2.0])
    assert first.status_code == 200
    stream.push([1.0, 2.0])
    block = push(open_server, "life", [[1, None], [3, 4]], count=1)
    stream.push([[1, np.nan], [3, 4]])
    answer = open_server.get("/v1/streams/life").json()
    assert answer == block.json()
    assert answer["count"] == 3
    assert answer["prediction"] == stream.predict()
    assert answer["probabilities"] == pytest.approx(dict(zip(("rest", "run"), stream.output, strict=True)), rel=1e-5)
    assert open_server.delete("/v1/streams/life").json() == {"stream": "life", "closed": True}
    assert open_server.get("/v1/streams/life").status_code == 404


def test_times_are_seconds_or_dates(open_server: httpx.Client) -> None:
    assert push(open_server, "dates", [1, 2], time="2026-01-31T12:00:00Z").json()["time"] == 1769860800.0
    assert push(open_server, "dates", [1, 2], time="2026-01-31T13:00:00.5+01:00").json()["time"] == 1769860800.5
    assert push(open_server, "dates", [[1, 2], [1, 2]], time=[1769860801000, 1769860802000]).status_code == 200


def test_many_streams_in_one_request(open_server: httpx.Client) -> None:
    items = [{"stream": f"m{k}", "values": [k, k]} for k in range(5)] + [{"stream": "m0", "values": [7, 7]}]
    reply = open_server.post("/v1/push", json={"items": items})
    assert reply.status_code == 200
    assert [one["count"] for one in reply.json()["results"]] == [1, 1, 1, 1, 1, 2]
    wrong = open_server.post(
        "/v1/push", json={"items": [{"stream": "m0", "values": [1]}, items[1], {"values": [1, 2]}]}
    )
    assert wrong.status_code == 207
    assert [one["status"] for one in wrong.json()["results"]] == [422, 200, 422]
    for body in ({}, {"items": []}, [], {"items": 3}):
        assert open_server.post("/v1/push", json=body).status_code == 422


def test_a_snapshot_is_downloaded_and_uploaded(open_server: httpx.Client, engine) -> None:
    push(open_server, "saved", [1, 2])
    reply = open_server.get("/v1/streams/saved/snapshot")
    assert reply.headers["content-type"] == "application/octet-stream"
    stream = Stream(engine.engine)
    stream.load_state_dict(from_bytes(reply.content))
    assert stream.count == 1
    assert open_server.put("/v1/streams/copy/snapshot", content=reply.content).status_code == 201
    again = open_server.put("/v1/streams/copy/snapshot", content=reply.content)
    assert (again.status_code, again.json()["error"][:27]) == (409, "there is a stream of this n")
    assert open_server.put("/v1/streams/copy/snapshot?replace=true", content=reply.content).status_code == 200
    stale = to_bytes({**from_bytes(reply.content), "format": torch.tensor([0])})
    reply = open_server.put("/v1/streams/stale/snapshot", content=stale)
    assert (reply.status_code, "has format 0" in reply.json()["error"]) == (422, True)


BAD = {
    "channels": (b'{"values": [1, 2, 3]}', 422, "2 numbers"),
    "ragged": (b'{"values": [[1, 2], [3]]}', 422, "equal length"),
    "text": (b'{"values": ["a", "b"]}', 422, "2 numbers"),
    "empty": (b'{"values": []}', 422, "2 numbers"),
    "objects": (b'{"values": {"a": 1}}', 422, "2 numbers"),
    "no values": (b'{"time": 3}', 422, "needs `values`"),
    "unknown field": (b'{"values": [1, 2], "tiem": 3}', 422, 'no field "tiem"'),
    "not a number": (b'{"values": [1, NaN]}', 400, "write null"),
    "infinite": (b'{"values": [1, 1e999]}', 422, "finite"),
    "too large for float32": (b'{"values": [1, 1e200]}', 422, "finite"),
    "malformed": (b'{"values": [1, 2', 400, "not JSON"),
    "no text": (b'{"values": "\xff"}', 400, "not UTF-8"),
    "deep": (b"[" * 3000, 400, "nested too deeply"),
    "nested": (b'{"values": ' + b"[" * 200 + b"]" * 200 + b"}", 422, "2 numbers"),
    "digits": (b'{"values": [' + b"1" * 3900 + b", 2]}", 422, "2 numbers"),
    "a list": (b"[1, 2]", 422, "an object"),
    "oversized": (b'{"values": [' + b" " * 4000 + b"1, 2]}", 413, "4000 bytes"),
    "time that is none": (b'{"values": [1, 2], "time": "noon"}', 422, "a date such as"),
    "boolean time": (b'{"values": [1, 2], "time": true}', 422, "a date such as"),
    "times of another number": (b'{"values": [1, 2], "time": [1, 2]}', 422, "one time for each of 1"),
    "time where there was none": (b'{"values": [1, 2], "time": 9}', 422, "have a time or none"),
    "count that is none": (b'{"values": [1, 2], "count": -1}', 422, "`count`"),
    "gap": (b'{"values": [1, 2], "count": 7}', 409, "push on from sample 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_push_is_answered_in_one_sentence_and_changes_nothing(case: str, open_server: httpx.Client) -> None:
    body, status, words = BAD[case]
    if open_server.get("/v1/streams/good").status_code == 404:
        push(open_server, "good", [1, 2])
    before = open_server.get("/v1/streams/good/snapshot").content
    reply = open_server.post("/v1/streams/good/push", content=body)
    error = reply.json()["error"]
    assert (reply.status_code, words in error) == (status, True), error
    assert "\n" not in error
    assert open_server.get("/v1/streams/good/snapshot").content == before


def test_times_must_rise(open_server: httpx.Client) -> None:
    push(open_server, "late", [1, 2], time=5.0)
    reply = push(open_server, "late", [1, 2], time=4.0)
    assert reply.status_code == 422
    assert "`time` must rise" in reply.json()["error"]
    assert push(open_server, "late", [1, 2], time=6.0).json()["count"] == 2


def test_a_body_without_a_length_is_measured_as_it_comes(open_server: httpx.Client) -> None:
    reply = open_server.post("/v1/streams/good/push", content=(b" " * 1000 for _ in range(10)))
    assert reply.status_code == 413


def test_a_request_that_breaks_off_changes_nothing_and_is_no_fault(
    open_server: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    push(open_server, "broken off", [1, 2])
    address = open_server.base_url.host, open_server.base_url.port
    for length in (b"Content-Length: 100", b"Transfer-Encoding: chunked"):
        lines = b"POST /v1/streams/broken%20off/push HTTP/1.1", b"Host: 127.0.0.1", length, b"", b'9\r\n{"values"'
        with socket.create_connection(address, timeout=60) as link:
            link.sendall(b"\r\n".join(lines))
            link.shutdown(socket.SHUT_WR)
            link.recv(1000)  # whatever is said, it ends
    assert push(open_server, "broken off", [1, 2]).json()["count"] == 2
    assert not [record for record in caplog.records if record.exc_info]


def test_streams_that_are_unknown_and_names_that_are_none(open_server: httpx.Client) -> None:
    for method, place in (("GET", ""), ("DELETE", ""), ("GET", "/snapshot")):
        reply = open_server.request(method, f"/v1/streams/nobody{place}")
        assert (reply.status_code, "no such stream" in reply.json()["error"]) == (404, True)
    for name in ("a" * 201, "tab%09"):
        assert open_server.put(f"/v1/streams/{name}").status_code == 422
    assert open_server.put("/v1/streams/twice").status_code == 201
    assert open_server.put("/v1/streams/twice").status_code == 409
    assert open_server.get("/v1/streams/twice").status_code == 409
    assert open_server.get("/v1/streams").status_code == 404  # there is no list
    assert open_server.get("/v1/streams").json()["error"].startswith("there is nothing at this address")
    assert open_server.post("/v1/model").status_code == 405


def test_health_model_metrics_and_page(open_server: httpx.Client) -> None:
    assert open_server.get("/healthz").json() == {"status": "ok"}
    assert open_server.get("/v1/model").json()["classes"] == ["rest", "run"]
    push(open_server, "measured", [1, 2])
    text = open_server.get("/metrics").text
    numbers = {name: float(value) for name, value in (line.split(" ") for line in text.splitlines() if line[0] != "#")}
    assert numbers["seqkit_samples_total"] >= 1
    assert numbers['seqkit_answers_total{status="200"}'] >= 1
    assert numbers["seqkit_streams"] >= 1
    assert numbers["seqkit_job_seconds_count"] >= 1
    assert numbers["seqkit_waiting"] == 0
    page = open_server.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<canvas" in page.text


def test_pages_of_other_sites_and_other_names_are_refused(open_server: httpx.Client) -> None:
    reply = open_server.get("/v1/streams/good", headers={"Origin": "http://elsewhere.test"})
    assert (reply.status_code, "another site" in reply.json()["error"]) == (403, True)
    for origin in ("null", "http://[", "http://127.0.0.1:99999"):
        assert open_server.get("/v1/model", headers={"Origin": origin}).status_code == 403
    reply = open_server.get("/v1/streams/good", headers={"Host": "rebound.test"})
    assert (reply.status_code, "this name" in reply.json()["error"]) == (403, True)
    with pytest.raises(InvalidStatus):
        connect(f"ws://{open_server.base_url.netloc.decode()}/v1/ws", origin="http://elsewhere.test")
    assert Guard(None, hosts=["::1"]).fault({"host": "[::1]:8000"}) is None


def test_tokens_keep_clients_apart(guarded: str) -> None:
    with as_client(guarded, "x") as x, as_client(guarded, "y") as y:
        push(x, "same name", [1, 2])
        assert y.get("/v1/streams/same name").status_code == 404
        assert y.get("/v1/streams/same name/snapshot").status_code == 404
        assert y.delete("/v1/streams/same name").status_code == 404
        push(y, "same name", [5, 6])
        assert push(x, "same name", [1, 2]).json()["count"] == 2
        assert push(y, "same name", [1, 2]).json()["count"] == 2
        assert x.get("/v1/streams/same name").json() != y.get("/v1/streams/same name").json()


@pytest.mark.parametrize("token", [None, "token-of-client-", "token-of-client-xx", "ÿ" * 16])
def test_a_wrong_token_is_told_nothing(token: str | None, guarded: str) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode("latin-1")}
    with httpx.Client(base_url=f"http://{guarded}", headers=headers, timeout=60) as client:
        for method, place in (("PUT", ""), ("POST", "/push"), ("GET", ""), ("DELETE", ""), ("GET", "/snapshot")):
            reply = client.request(method, f"/v1/streams/a{place}", content=b"{bad")
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        for place in ("/v1/model", "/metrics"):
            assert client.get(place).status_code == 401
        assert client.post("/v1/push", content=b"").status_code == 401
        assert client.put("/v1/streams/a/snapshot", content=b"").status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == client.get("/").status_code


def test_a_socket_answers_in_order(open_server: httpx.Client) -> None:
    with connect(f"ws://{open_server.base_url.netloc.decode()}/v1/ws") as link:
        for k in range(300):  # more than may be under way
            message = {"op": "push", "stream": f"w{k % 3}", "values": [k, 1], "count": k // 3, "id": k}
            link.send(json.dumps(message))
        answers = [json.loads(link.recv(timeout=60)) for _ in range(300)]
        assert [answer["id"] for answer in answers] == list(range(300))
        assert [answer["count"] for answer in answers] == [k // 3 + 1 for k in range(300)]
        for message in (
            {"op": "predict", "stream": "w0"},
            {"op": "open", "stream": "w9"},
            {"op": "close", "stream": "w9"},
        ):
            link.send(json.dumps(message))
            assert json.loads(link.recv(timeout=60))["status"] in (200, 201)


def test_a_socket_goes_on_after_bad_messages(open_server: httpx.Client) -> None:
    with connect(f"ws://{open_server.base_url.netloc.decode()}/v1/ws") as link:
        for text, status in (
            ("{bad", 400),
            ('{"op": "push", "stream": "z", "values": [NaN, 1]}', 400),
            ('{"op": "sing"}', 422),
            ("[]", 422),
            ("3", 422),
            ('{"op": "push", "stream": "z", "values": [1]}', 422),
            ('{"op": "predict", "stream": "nobody"}', 404),
            ('{"op": "predict"}', 422),
            ('{"op": "push", "stream": "z", "values": [1, 2], "count": 3}', 409),
            ('{"op": "push", "stream": "z", "values": [1, 2], "count": 0}', 200),
        ):
            link.send(text)
            answer = json.loads(link.recv(timeout=60))
            assert answer["status"] == status, answer
            assert ("error" in answer) == (status != 200)


def test_a_list_of_messages_is_answered_by_a_list(open_server: httpx.Client) -> None:
    with connect(f"ws://{open_server.base_url.netloc.decode()}/v1/ws") as link:
        messages = [{"op": "push", "stream": f"l{k % 2}", "values": [k, 1], "id": k} for k in range(6)]
        link.send(json.dumps([*messages, {"op": "sing", "id": 6}, 7]))
        answers = json.loads(link.recv(timeout=60))
        assert [answer["status"] for answer in answers] == [200] * 6 + [422] * 2
        assert [answer.get("count") for answer in answers[:6]] == [1, 1, 2, 2, 3, 3]
        assert [answer.get("id") for answer in answers] == [0, 1, 2, 3, 4, 5, 6, None]


def test_a_message_that_is_too_large_ends_the_connection(open_server: httpx.Client) -> None:
    with connect(f"ws://{open_server.base_url.netloc.decode()}/v1/ws") as link:
        link.send(" " * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            link.recv(timeout=60)
        assert closed.value.rcvd.code == 1009


def test_a_socket_needs_a_token_in_the_header_or_first(guarded: str) -> None:
    url = f"ws://{guarded}/v1/ws"
    with connect(url, additional_headers={"Authorization": f"Bearer {TOKENS['x']}"}) as link:
        link.send('{"op": "push", "stream": "ws", "values": [1, 2]}')
        assert json.loads(link.recv(timeout=60))["count"] == 1
    with connect(url) as link:
        link.send(json.dumps({"op": "hello", "token": TOKENS["y"]}))
        link.send('{"op": "predict", "stream": "ws"}')
        assert [json.loads(link.recv(timeout=60))["status"] for _ in range(2)] == [200, 404]
    for first in ('{"op": "hello", "token": "wrong"}', '{"op": "predict", "stream": "ws"}', "{bad", '{"token": 3}'):
        with connect(url) as link:
            link.send(first)
            assert "error" in json.loads(link.recv(timeout=60))
            with pytest.raises(ConnectionClosed):
                link.recv(timeout=60)


def test_a_watched_stream_tells_what_happens_in_it_and_in_no_other(guarded: str) -> None:
    with connect(f"ws://{guarded}/v1/ws") as link, as_client(guarded, "x") as x, as_client(guarded, "y") as y:
        link.send(json.dumps({"op": "hello", "token": TOKENS["x"]}))
        link.send('{"op": "watch", "stream": "seen"}')
        assert [json.loads(link.recv(timeout=60))["status"] for _ in range(2)] == [200, 200]
        push(y, "seen", [9, 9])
        push(x, "other", [8, 8])
        push(x, "seen", [[1, None], [3, 4]])
        event = json.loads(link.recv(timeout=60))
        assert (event["event"], event["values"], event["count"]) == ("push", [[1.0, None], [3.0, 4.0]], 2)
        link.send('{"op": "unwatch", "stream": "seen"}')
        assert json.loads(link.recv(timeout=60))["watched"] is False
        push(x, "seen", [1, 2])
        with pytest.raises(TimeoutError):
            link.recv(timeout=0.2)


def test_rates_and_numbers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("seqkit.streaming.server.limits.Bucket", partial(Bucket, clock=lambda: now[0]))
    limits = Limits(rate=1.0, burst=4, streams=3, queue=1000)
    with served.server(limits=limits) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        assert push(client, "a", [[1, 2]] * 5).status_code == 413
        statuses = [push(client, "a", [1, 2]).status_code for _ in range(12)]
        assert statuses == [200] * 4 + [429] * 8
        refused = push(client, "a", [[1, 2]] * 4)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")
        now[0] += 1.1
        assert push(client, "a", [1, 2]).status_code == 200
        assert [client.put(f"/v1/streams/{name}").status_code for name in "bcd"] == [201, 201, 429]


def test_a_full_queue_says_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, gate = served.keeper_at(":memory:"), threading.Event()
    done = keeper.handle
    monkeypatch.setattr(keeper, "handle", lambda jobs: (gate.wait(100), done(jobs))[1])
    with (
        served.server(keeper=keeper, limits=Limits(queue=2)) as address,
        httpx.Client(base_url=f"http://{address}", timeout=60) as client,
    ):
        url, replies = f"http://{address}/v1/streams/a/push", []
        threads = [
            threading.Thread(target=lambda: replies.append(httpx.post(url, json={"values": [1, 2]}, timeout=60)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while "seqkit_waiting 2.0" not in client.get("/metrics").text:
            assert time.monotonic() < end
            time.sleep(0.01)
        full = push(client, "a", [1, 2])
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert push(client, "a", [[1, 2]] * 3).status_code == 413
        assert client.get("/healthz").status_code == 200
        gate.set()
        for thread in threads:
            thread.join()
        assert sorted(reply.json()["count"] for reply in replies) == [1, 2]


def test_what_waits_is_done_before_the_end_and_nothing_after(tmp_path: Path) -> None:
    async def life() -> list[int]:
        batcher = Batcher(served.keeper_at(tmp_path / "a.db"), Limits())
        with pytest.raises(RefusedError, match="starting or stopping"):
            batcher.enter([served.pushed("a", [1, 2])])
        await batcher.start()
        await batcher.ready.wait()
        waiting = [batcher.enter([served.pushed("a", [k, 2])]) for k in range(5)]
        await batcher.stop()
        with pytest.raises(RefusedError, match="starting or stopping"):
            batcher.enter([served.pushed("a", [1, 2])])
        return [(await one)[0].body["count"] for one in waiting]

    try:
        assert asyncio.run(life()) == [1, 2, 3, 4, 5]
    finally:
        torch.set_flush_denormal(False)  # the batcher sets it in the thread of its loop, which is this one
    keeper = served.keeper_at(tmp_path / "a.db")
    assert keeper.recover() == 0  # its state was stored
    assert keeper.handle([served.pushed("a", [1, 2], count=5)])[0].status == 200
    keeper.store.close()


def test_files_of_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# comment\n\nward 3:0123456789\nward:4:9876543210\n")
    assert Clients.read(file) == {"ward 3": "0123456789", "ward:4": "9876543210"}
    for text, words in (("", "holds no token"), ("a:12345678\na:87654321\n", "line 2")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            Clients.read(file)
    with pytest.raises(FileNotFoundError, match="no file of tokens"):
        Clients.read(tmp_path / "none")
    for tokens, words in (({"a": "short"}, "at least 8"), ({"a": "12345678", "b": "12345678"}, "the same token")):
        with pytest.raises(ValueError, match=words):
            Clients(tokens, Limits())
    for wrong in ({"queue": 0}, {"rate": -1.0}, {"body": 1.5}):
        with pytest.raises(ValueError, match="must be"):
            Limits(**wrong)
