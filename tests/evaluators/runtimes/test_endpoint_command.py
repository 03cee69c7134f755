"""An endpoint from the command line: a stub in a process of its own, a key in the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "sk-canary-0123456789"


@contextmanager
def stub_server(*options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "evaluators.testing.stub_server", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(url: str, *more: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    arguments = f"base_url={url},model=stub,num_concurrent=48,backoff=0.01,timeout=5"
    command = [
        sys.executable, "-m", "evaluators", "run", "reask", "--task", "echo_flips", "--limit", "24",
        "--model", "endpoint", "--model-args", arguments, "--json", *more,
    ]  # fmt: skip
    env = {**os.environ, "OPENAI_API_KEY": key}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_whole_run_whose_key_is_nowhere(tmp_path: Path) -> None:
    with stub_server("--key", KEY, "--fault", "500=0.1", "--fault", "empty=0.1") as url:
        done = run(url, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert row["n"] == 24
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert [text for text in [done.stdout, done.stderr, *written] if KEY in text] == []


def test_refuses_a_wrong_key_in_one_line() -> None:
    with stub_server("--key", "right") as url:
        done = run(url)
    assert done.returncode != 0
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith("HTTP 401: Incorrect API key provided: Bearer [key]")
    )
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_refuses_an_unknown_argument_before_the_tasks_are_loaded() -> None:
    done = run("http://127.0.0.1:9/v1,num_concurent=3")
    assert done.returncode != 0
    assert "did you mean num_concurrent?" in done.stderr
