"""Folders of tasks written on the spot, and a cache that outlives the session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import evaluators

PACKAGE = Path(evaluators.__file__).parent

FUNCTIONS = '''
import os, re, sys, time
from datasets import Dataset

DOCS = [
    {"q": f"{n} + 1?", "a": str(n + 1), "all": [str(n + 1), f"{n + 1}.0"], "pick": n % 2, "n": n}
    for n in range(12)
]
SHOTS = [{"q": f"{n} - 1?", "a": str(n - 1), "all": [str(n - 1)], "pick": 0, "n": n}
         for n in range(50, 56)]

def documents(**_):
    return {"test": Dataset.from_list(DOCS), "shots": Dataset.from_list(SHOTS)}

def unreachable(**_):
    raise ConnectionError("Couldn't reach the Hub")

def empty(**_):
    return {"test": Dataset.from_list([])}

def process_docs(docs):
    return docs.filter(lambda doc: doc["n"] % 2 == 0)

def moody(doc, results):
    """Do what the answer says."""
    text = results[0]
    if text == "hang":
        time.sleep(3600)
    if text == "backtrack":
        re.match(r"(a+)+$", "a" * 60 + "b")
    if text == "raise":
        raise RuntimeError("the grader\\ndoes not like it")
    if text == "die":
        print("out of cheese", file=sys.stderr, flush=True)
        os._exit(3)
    if text == "nap":
        time.sleep(0.1)
    if text == "nan":
        return {"exact_match": float("nan")}
    if text == "talk":
        print("x" * 100_000)
        os.write(1, b"more")
        assert sys.stdin.read() == ""
    if text == "pid":
        return {"exact_match": float(os.getpid())}
    return {"exact_match": float(text == doc["a"])}

def corpus(items):
    return sum(items)

def shout(resps, docs):
    return [[text.upper() for text in texts] for texts in resps]

def secrets(doc, results):
    return {"exact_match": float(os.environ.get(results[0]) is not None)}
'''

TASK = """
task: {name}
custom_dataset: !function functions.documents
output_type: generate_until
test_split: test
fewshot_split: shots
doc_to_text: "Q: {{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 20, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: {{version: 3.5, summary: Adding one}}
{more}
"""

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def write_into() -> Write:
    """Return a function that writes a task file into a folder; later keys win over earlier ones."""

    def write_task(folder: Path, name: str = "plus_one", more: str = "") -> Path:
        (folder / "functions.py").write_text(FUNCTIONS)
        keys = {line.partition(":")[0] for line in more.splitlines() if line[:1].isalpha()}
        kept, skipping = [], False
        for line in TASK.format(name=name, more="").splitlines():
            if line[:1].isalpha():
                skipping = line.partition(":")[0] in keys
            if not skipping:
                kept.append(line)
        path = folder / f"{name}.yaml"
        path.write_text("\n".join([*kept, more]))
        return path

    return write_task


@pytest.fixture
def write(tmp_path: Path, write_into: Write) -> Write:
    """Return a function that writes a task file into a folder of this test's own."""
    return partial(write_into, tmp_path)


@pytest.fixture
def bundled() -> Path:
    """Return the folder of bundled tasks."""
    return PACKAGE / "tasks" / "bundled"


@pytest.fixture
def echo() -> Path:
    """Return the folder of the echo runtime's tasks."""
    return PACKAGE / "testing" / "tasks"


@pytest.fixture(autouse=True)
def _cache(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep lm-eval's index between sessions, but not among the user's own files."""
    folder = pytestconfig.cache.mkdir("redraft") if pytestconfig.cache else None
    if folder is not None:
        monkeypatch.setenv("REDRAFT_CACHE", str(folder))
