"""`seqkit serve` as a process: killed and started again, ended politely, and its page in a browser."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import math
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from seqkit.cli.main import app
from seqkit.models import save_model

_spec = importlib.util.spec_from_file_location("seqkit_served", Path(__file__).with_name("served.py"))
served = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(served)

STREAMS, ROUNDS = 12, 40
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_model(served.small_model("gru"), folder)
    return folder


def pushes() -> list[dict[str, Any]]:
    """Samples and blocks of all streams, in the order in which they are sent."""
    rng, counts, messages = np.random.default_rng(0), dict.fromkeys(range(STREAMS), 0), []
    for _ in range(ROUNDS):
        for s in range(STREAMS):
            n = int(rng.choice([1, 1, 1, 3]))
            values = rng.normal(size=(n, 2)).round(3).tolist()
            messages.append({"op": "push", "stream": str(s), "count": counts[s], "values": values})
            counts[s] += n
    return messages


def send(address: str, messages: list[dict[str, Any]], at: int | None = None, then: Any = None) -> int:
    """Sends messages without waiting for answers; returns how many were acknowledged before the server was gone.

    Where it is to be gone after one, only some more than that are sent, so it cannot have answered all before.
    """
    acknowledged = 0
    sent = messages if at is None else messages[: at + 100]
    try:
        with connect(f"ws://{address}/v1/ws") as link:
            writer = threading.Thread(target=quietly, args=(link, sent))
            writer.start()
            for k in range(len(messages)):
                answer = json.loads(link.recv(timeout=60))
                assert answer["status"] == 200, answer
                acknowledged += 1
                if k == at:
                    then()
            writer.join()
    except ConnectionClosed:
        writer.join()
    return acknowledged


def quietly(link: Any, messages: list[dict[str, Any]]) -> None:
    try:
        for message in messages:
            link.send(json.dumps(message))
    except ConnectionClosed:
        pass


def finals(address: str) -> list[bytes]:
    with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        return [client.get(f"/v1/streams/{s}/snapshot").content for s in range(STREAMS)]


def test_killed_and_gone_on_with_equals_undisturbed_and_sigterm_stores(run: Path, tmp_path: Path) -> None:
    messages = pushes()
    process, address = served.start_process(run, tmp_path / "alone.db")
    try:
        assert send(address, messages) == len(messages)
        expected = finals(address)
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
        process.communicate()

    small = ("--resident", "5", "--store-every", "9")
    process, address = served.start_process(run, tmp_path / "killed.db", *small)
    acknowledged = send(address, messages, 150, process.kill)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.communicate()
    assert 150 < acknowledged < len(messages)

    process, address = served.start_process(run, tmp_path / "killed.db", *small)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
            for s in range(STREAMS):
                mine = [m for m in messages[:acknowledged] if m["stream"] == str(s)]
                assert client.get(f"/v1/streams/{s}").json()["count"] >= mine[-1]["count"] + len(mine[-1]["values"])
        # What was sent and not acknowledged may have been taken; counts see to it that nothing is taken twice.
        assert send(address, messages[acknowledged:]) == len(messages) - acknowledged
        assert finals(address) == expected
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
        process.communicate()


def test_an_open_address_needs_a_token(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", str(run), "--host", "0.0.0.0", "--store", str(tmp_path / "a.db")])
    assert isinstance(result.exception, ValueError)
    assert "needs tokens" in str(result.exception)
    both = ["serve", str(run), "--token", "12345678", "--token-file", str(tmp_path / "none")]
    assert "give one of them" in str(CliRunner().invoke(app, both).exception)


def test_a_taken_port_is_said(run: Path, tmp_path: Path) -> None:
    with served.socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["serve", str(run), "--port", port, "--store", str(tmp_path / "a.db")])
    assert "choose another --port" in str(result.exception)


class Browser:
    """Headless Chromium, told what to do over its debugging port."""

    def __init__(self, profile: Path, stack: contextlib.ExitStack) -> None:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1100,850"]
        self.process = subprocess.Popen(
            [str(CHROMIUM), *options, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        stack.callback(self.end)
        for line in self.process.stderr:
            if "DevTools listening on" in line:
                port = line.split(":")[2].split("/")[0]
                break
        targets = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=60).json()
        [page] = [target for target in targets if target["type"] == "page"]
        self.link = stack.enter_context(connect(page["webSocketDebuggerUrl"], max_size=None))
        self.said: list[str] = []
        self.number = 0
        self.ask("Runtime.enable")
        self.ask("Log.enable")
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        self.link.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.link.recv(timeout=60))
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(json.dumps(message["params"]))
            if message.get("id") == self.number:
                return message["result"]

    def value(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, expression: str) -> None:
        for _ in range(1200):
            if self.value(expression):
                return
            served.time.sleep(0.05)
        raise AssertionError(f"never true: {expression}; {self.value('document.body.innerText')}; {self.said}")

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium on the path to look at the page with, and none is here")
    with contextlib.ExitStack() as stack:
        yield Browser(tmp_path / "profile", stack)


INK = """(() => {
  const c = document.getElementById(%r), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  const seen = new Set();
  for (let k = 0; k < d.length; k += 4) if (d[k + 3] > 200) seen.add([d[k], d[k + 1], d[k + 2]].join());
  return ["31,119,180", "224,123,57"].map((colour) => seen.has(colour));
})()"""
"""Whether the colours of the first two lines are on a canvas."""


def test_the_page_draws_a_stream_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    token = "token-of-the-browser"
    with served.server(tokens={"b": token}) as address, connect(f"ws://{address}/v1/ws") as link:
        link.send(json.dumps({"op": "hello", "token": token}))
        browser.ask("Page.navigate", url=f"http://{address}/")
        browser.until("document.readyState == 'complete' && document.getElementById('choice') !== null")
        browser.value("watch('heart', 'a wrong one')")
        browser.until("document.getElementById('state').textContent.includes('nobody has this token')")
        browser.value(f"at('stream').value = 'heart'; at('token').value = '{token}'; at('choice').requestSubmit()")
        browser.until("document.body.dataset.watched == 'heart'")
        for k in range(300):
            values = [math.sin(k / 9), None if 100 < k < 130 else math.cos(k / 17) * 2]
            link.send(json.dumps({"op": "push", "stream": "heart", "values": values}))
        browser.until("document.body.dataset.samples == '300'")
        browser.until("drawn")
        assert browser.value("document.getElementById('answer').textContent") in ("rest", "run")
        assert "300 samples" in browser.value("document.getElementById('count').textContent")
        assert browser.value(INK % "signal") == [True, True]
        assert browser.value(INK % "predictions") == [True, True]
        assert browser.value("document.getElementById('channels').textContent") == "channel 0channel 1"
        assert [said for said in browser.said if "401" not in said] == []  # nor anything that the page's policy forbids
        picture = browser.ask("Page.captureScreenshot")["data"]
        (tmp_path / "page.png").write_bytes(base64.b64decode(picture))
    if keep := served.os.environ.get("SEQKIT_TEST_PICTURES"):
        shutil.copy(tmp_path / "page.png", keep)
