from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np

from tests.conftest import ModelFactory
from tests.server import RunningServer

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_train_a_layer_prints_shapes_and_a_falling_loss() -> None:
    result = run("train_a_layer.py")
    assert (result.returncode, result.stderr) == (0, "")
    layer, shapes, before, after = result.stdout.splitlines()
    assert layer == "QRReduction(input_size=16, n_components=4, bias=False, parametrization=none)"
    assert shapes == "hidden_states (8, 32, 16) -> reduced (8, 32, 4)"
    assert float(before.removeprefix("loss before ")) > 1
    assert float(after.removeprefix("loss after ")) < 0.001


def test_train_over_http_says_in_one_sentence_that_no_server_answers() -> None:
    result = run("train_over_http.py", "http://127.0.0.1:9")
    (sentence,) = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence.startswith("no server answers at http://127.0.0.1:9 (")
    assert sentence.endswith("); start one with: make serve")


def test_train_over_http_prints_the_detail_of_a_refusal(
    server: RunningServer, tmp_path: Path
) -> None:
    np.save(tmp_path / "narrow.npy", np.ones((2, 5)))
    result = run("train_over_http.py", f"{server.url}/models/small", str(tmp_path / "narrow.npy"))
    (sentence,) = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence.startswith("refused with 422: expected width 8 for model 'small', got 5; ")


def test_train_over_http_asks_what_a_server_of_another_kind_is() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:  # 501 to every POST
        thread = Thread(target=other.handle_request)
        thread.start()
        result = run("train_over_http.py", f"http://127.0.0.1:{other.server_port}")
        thread.join()
    (sentence,) = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence.endswith("; is it a Slimvec server?")
    assert " answered 501 " in sentence


def test_train_stream_prints_what_is_durable(
    server: RunningServer, new_model: ModelFactory, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 8)))
    result = run("train_stream.py", server.url, str(tmp_path / "rows.npy"), new_model())
    *lines, versions = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert lines[-1].startswith("batches up to 10 are durable: loss ")
    assert versions == "version 1 -> 11"


def test_train_stream_says_in_one_sentence_that_no_server_answers(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((2, 8)))
    result = run("train_stream.py", "http://", str(tmp_path / "rows.npy"))
    (sentence,) = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence.startswith("unreachable: expected a URL like http://127.0.0.1:8000")
