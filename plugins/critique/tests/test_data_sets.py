"""Data sets of solutions: what is fetched, what is refused, what tasks make of their rows."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluators.cli import run_command
from evaluators.errors import BadTask, GradeError
from evaluators.grading import shared
from evaluators.model import Given
from evaluators.tasks import TaskSpec, load_suite, open_tasks
from evaluators.tasks.catalogue import Catalogue
from evaluators.tasks.critique_data import big_bench_mistake
from evaluators.tasks.loading import OpenTask
from evaluators.testing.stub_hub import StubHub, stub_hub

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("REDRAFT_SHARED", REPOSITORY.parent / "shared"))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("REDRAFT_DATA_DIR", raising=False)


@pytest.fixture(scope="module", autouse=True)
def _grader() -> Iterator[None]:
    yield
    shared().close()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def mistakes() -> list[dict[str, Any]]:
    """Invent rows of the form of BIG-Bench Mistake."""
    return [
        {"input": "(1 + 2) * 4 =", "steps": ["1 + 2 = 3", "3 * 4 = 11", "So the answer is 11"],
         "target": "12", "answer": "11", "mistake_index": 1},
        {"input": "1 + 1 =", "steps": ["1 + 1 = 2", "So the answer is 2"],
         "target": "2", "answer": "2", "mistake_index": None},
        {"input": "0 - 4 =", "steps": ["0 - 4 = 4", "No, -4. So the answer is -4"],
         "target": "-4", "answer": "-4", "mistake_index": 0},
    ]  # fmt: skip


def responses() -> list[dict[str, Any]]:
    """Invent rows of the form of CriticBench, one for every way in which answers are compared."""
    told = [
        ("GSM8K", "1 + 1?", ["2"], "It is two, so [[2]]", True),
        ("MATH", "Half of one?", ["\\frac{1}{2}"], "So \\boxed{2}", False),
        ("AQuA", "Which? (A) 1 (B) 2", ["B"], "The answer is (B)", True),
        ("TabMWP", "How much?", ["1,000"], "The answer is 10", False),
        ("CSQA", "Where? (A) sea (B) sky", ["A"], "(B)", False),
        ("AmbigNQ", "Who?", ["The Beatles", "Beatles"], "beatles!", True),
        ("StrategyQA", "Can it?", ["yes"], "No.", False),
        ("HotpotQA", "What?", ["Green Day"], "Blue", False),
        ("Penguins", "Which?", ["(C)"], "C", True),
        ("Colored Object", "Which?", ["D"], "A", False),
        ("Date", "When?", ["(F)"], "(F)", True),
        ("Object Counting", "How many?", ["7"], "8", False),
        ("Repeat Copy", "Say it twice", ["it it"], "it it", True),
        ("MBPP", "Write it", ["assert f() == 1", "def f(): return 1"], "def f(): ...", False),
        ("HumanEval", "def g():", ["check(g)", "return 2"], "return 2", True),
    ]
    return [
        {"id": number, "question": question, "question_source": source, "question_type": "some",
         "answer": golds, "response": response, "response_label": label}
        for number, (source, question, golds, response, label) in enumerate(told)
    ]  # fmt: skip


SOURCES = """
[big_bench_mistake]
{place}
revision = "{revision}"
files.multistep_arithmetic = {{ path = "multistep_arithmetic.jsonl", local = "m.jsonl", rows = 3 }}

[criticbench_thu]
{place}
revision = "{revision}"
files.all = {{ path = "*{kind}", local = "criticbench_thu/*", rows = 15 }}
"""


class Sources:
    """Files of a repository, and a file of sources that names it."""

    def __init__(self, hub: StubHub, folder: Path) -> None:
        self.hub, self.path = hub, folder / "sources.toml"
        self.name(COMMIT)

    def name(self, revision: str, *, at: str = "hub", kind: str = ".jsonl") -> None:
        """Name a revision, on the Hub or on GitHub."""
        place = f'{at} = "acme/sums"'
        if at == "github":
            place += f'\nendpoint = "{self.hub.url}"'
        self.path.write_text(SOURCES.format(place=place, revision=revision, kind=kind))

    def put(self, revision: str, **files: bytes) -> None:
        """Publish a commit."""
        named = {name.replace("__", "."): content for name, content in files.items()}
        self.hub.repositories["acme/sums"][revision] = named


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    with stub_hub({"acme/sums": {}}) as hub:
        made = Sources(hub, tmp_path)
        made.put(
            COMMIT, multistep_arithmetic__jsonl=jsonl(mistakes()), all__jsonl=jsonl(responses())
        )
        made.put(OTHER, multistep_arithmetic__jsonl=jsonl(mistakes()))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("REDRAFT_SOURCES", str(made.path))
        yield made


class Opened:
    """A task in this process: starting one for every test would take minutes."""

    def __init__(self, name: str = "bbm_multistep_arithmetic") -> None:
        self.task = OpenTask(TaskSpec(name), Catalogue().find(name))
        self.samples: list[Any] = self.task.samples(None)

    def grades(self, index: int, *answers: str) -> list[dict[str, Any]]:
        """Grade answers to one document."""
        return self.task.grade(index, answers)

    def labels(self) -> list[dict[str, Any]]:
        """Grade what is given with every document."""
        return [self.grades(i, s["given"]["text"])[0] for i, s in enumerate(self.samples)]


def refused(name: str = "bbm_multistep_arithmetic") -> str:
    with pytest.raises(BadTask) as error:
        Opened(name)
    return str(error.value.data["reason"])


class TestFetching:
    @pytest.mark.parametrize("at", ["hub", "github"])
    def test_takes_the_pinned_commit_and_asks_for_it_once(self, sources, at):
        sources.name(COMMIT, at=at)
        first = Opened().samples
        asked = len(sources.hub.asked)
        assert all(COMMIT in path for path in sources.hub.asked if "acme" in path)
        assert Opened().samples == first
        assert len(sources.hub.asked) == asked

    @pytest.mark.parametrize("revision", ["main", "v1.0", "", COMMIT[:39], COMMIT.upper() + "g"])
    def test_refuses_a_revision_that_may_change(self, sources, revision):
        sources.name(revision)
        reason = refused()
        assert "must be a commit of 40 hex digits" in reason
        assert sources.hub.asked == []

    @pytest.mark.parametrize("at", ["hub", "github"])
    def test_refuses_content_that_changed(self, sources, at, tmp_path):
        sources.name(COMMIT, at=at)
        Opened()
        changed = mistakes()
        changed[0]["mistake_index"] = 2
        kept = [path for path in tmp_path.rglob("multistep_arithmetic.jsonl") if path.is_file()]
        for path in kept:
            target = path.resolve()
            target.unlink()
            target.write_bytes(jsonl(changed))
        reason = refused()
        assert "the file was changed" in reason
        assert str(tmp_path / "cache" / "data" / "locks") in reason

    def test_refuses_another_commit_than_was_used_before(self, sources):
        Opened()
        sources.name(OTHER)
        assert f"is of revision {OTHER}, and {COMMIT} was used before" in refused()

    def test_refuses_a_hub_that_serves_another_commit(self, sources):
        sources.hub.claims[COMMIT] = OTHER
        assert f"the Hub serves commit {OTHER} in place of {COMMIT}" in refused()

    def test_refuses_a_commit_that_is_not_there(self, sources):
        sources.name("9" * 40)
        assert "its data set cannot be fetched" in refused()

    def test_refuses_two_files_that_fit(self, sources):
        both = {"a__parquet": b"", "b__parquet": b""}
        sources.put(COMMIT, **both)
        sources.name(COMMIT, kind=".parquet")
        reason = refused("criticbench_thu_math")
        assert f"of the files at {COMMIT}, 2 fit '*.parquet': a.parquet, b.parquet" in reason


BROKEN = {
    "missing-rows": (mistakes()[:2], "holds 2 rows, and the set has 3: it was cut off or changed"),
    "too-many": ([*mistakes(), {"input": "x", "steps": []}], "holds 4 rows, and the set has 3"),
    "one-row-twice": ([*mistakes()[:2], mistakes()[0]], "row 3 is row 1 once more (input, steps)"),
    "without-its-key": ([*mistakes()[:2], {"steps": []}], "row 3 has no field 'input'"),
}


class TestFolder:
    @pytest.fixture
    def folder(self, sources, tmp_path, monkeypatch) -> Path:
        folder = tmp_path / "data"
        (folder / "criticbench_thu").mkdir(parents=True)
        monkeypatch.setenv("REDRAFT_DATA_DIR", str(folder))
        return folder

    def test_nothing_is_fetched(self, sources, folder):
        (folder / "m.jsonl").write_bytes(jsonl(mistakes()))
        assert len(Opened().samples) == 3
        assert sources.hub.asked == []

    def test_the_command_names_the_folder_until_it_ends(self, sources, folder, monkeypatch, capsys):
        (folder / "m.jsonl").write_bytes(jsonl(mistakes()))
        monkeypatch.delenv("REDRAFT_DATA_DIR")
        arguments = ["single_pass", "--task", "bbm_multistep_arithmetic", "--model", "echo"]
        options = ["--data-dir", str(folder), "--no-controls", "--json"]
        assert run_command(["run", *arguments, *options]) == 0
        (found,) = json.loads(capsys.readouterr().out)["results"]
        assert found["n_total"] == 3
        assert "REDRAFT_DATA_DIR" not in os.environ
        assert sources.hub.asked == []

    def test_refuses_a_file_that_is_not_there(self, folder):
        reason = refused()
        assert (
            f"there is no such file, and REDRAFT_DATA_DIR says that the data lie in {folder}"
            in (reason)
        )

    @pytest.mark.parametrize(("rows", "reason"), BROKEN.values(), ids=BROKEN)
    def test_refuses_rows_that_are_not_the_set(self, folder, rows, reason):
        (folder / "m.jsonl").write_bytes(jsonl(rows))
        assert reason in refused()

    def test_refuses_what_is_not_json_with_its_line(self, folder):
        (folder / "m.jsonl").write_bytes(jsonl(mistakes()[:2]) + b"{oops\n")
        assert f"{folder / 'm.jsonl'}:3: not JSON" in refused()

    def test_breaks_within_a_text_end_no_row(self, folder):
        rows = mistakes()
        rows[1]["input"] = "1 + 1\u2028\u0085="
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / "m.jsonl").write_text("\r\n".join(lines), encoding="utf-8", newline="")
        assert "1 + 1\u2028\u0085=" in Opened().samples[1]["messages"][0]["content"]

    def test_a_lock_holds_for_a_folder_too(self, folder):
        (folder / "m.jsonl").write_bytes(jsonl(mistakes()))
        Opened()
        rows = mistakes()
        rows[1]["answer"] = "3"
        (folder / "m.jsonl").write_bytes(jsonl(rows))
        assert "the file was changed" in refused()

    def test_parquet_and_json_are_read_alike(self, folder, tmp_path, monkeypatch):
        from pyarrow import Table, parquet

        place = folder / "criticbench_thu"
        (place / "all.json").write_text(json.dumps(responses()))
        first = Opened("criticbench_thu_math").samples
        (place / "all.json").unlink()
        monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "another"))
        parquet.write_table(Table.from_pylist(responses()), place / "all.parquet")
        assert Opened("criticbench_thu_math").samples == first


class TestMistakes:
    def test_a_trace_is_given_with_its_steps_and_graded_by_its_label(self, sources):
        opened = Opened()
        steps = mistakes()[0]["steps"]
        assert opened.samples[0]["given"] == {
            "text": "\n".join(steps), "steps": steps, "author": "",
        }  # fmt: skip
        assert [(g["correct"], g["first_error"], g["extracted"]) for g in opened.labels()] == [
            (False, 1, "11"), (True, -1, "2"), (True, 0, "-4"),
        ]  # fmt: skip

    def test_answers_of_the_model_are_compared_with_the_target(self, sources):
        replies = ["3 * 4 = 12\nAnswer: 12", "The answer is 12.0", "**Answer:** 11", "I answer 12"]
        grades = Opened().grades(0, *replies)
        assert [grade["correct"] for grade in grades] == [True, True, False, False]
        assert [grade["extracted"] for grade in grades] == ["12", "12.0", "11", None]

    @pytest.mark.parametrize(
        ("answer", "gold", "equal"),
        [
            ("] }", "] }", True), ("]}", "] }", True), ("] } }", "] }", False),
            ("E", "(E)", True), ("(e).", "(E)", True), ("(D)", "(E)", False),
            ("(A), (B), or (C)", "(A)", False), ("-2,116", "-2116", True), ("2116", "-2116", False),
            ("Apple  pear", "apple pear", True), ("pear apple", "apple pear", False),
        ],
    )  # fmt: skip
    def test_equality(self, answer, gold, equal):
        assert big_bench_mistake.same(answer, gold) is equal


class TestCriticBench:
    @pytest.fixture(autouse=True)
    def _one_file(self, sources) -> None:
        sources.put(COMMIT, all__jsonl=jsonl(responses()))

    def test_every_row_is_in_one_group_with_its_label(self):
        seen = []
        for group in ("math", "commonsense", "symbolic", "algorithmic", "code"):
            opened = Opened(f"criticbench_thu_{group}")
            texts = [sample["given"]["text"] for sample in opened.samples]
            seen += list(zip(texts, (g["correct"] for g in opened.labels()), strict=True))
        assert sorted(seen) == sorted((r["response"], r["response_label"]) for r in responses())

    @pytest.mark.parametrize(
        ("group", "index", "right", "wrong"),
        [
            ("math", 0, "That makes [[2]]", "[[2]], or rather [[3]]"),
            ("math", 1, "So \\boxed{0.5}", "So \\boxed{5}"),
            ("math", 2, "[[B]]", "The answer is A"),
            ("math", 3, "The answer is 1000", "1001"),
            ("commonsense", 1, "[[the beatles]]", "[[The Rolling Stones]]"),
            ("commonsense", 2, "It can. True", "[[no]]"),
            ("symbolic", 2, "[[F]]", "[[E]]"),
            ("algorithmic", 1, "[[It it]]", "[[it]]"),
        ],
    )
    def test_corrections_are_graded(self, group, index, right, wrong):
        grades = Opened(f"criticbench_thu_{group}").grades(index, right, wrong)
        assert [grade["correct"] for grade in grades] == [True, False]

    def test_refuses_to_run_code(self):
        opened = Opened("criticbench_thu_code")
        with pytest.raises(GradeError, match="needs a sandbox"):
            opened.grades(0, "def f(): return 1")

    def test_refuses_data_sets_that_are_not_known(self, sources):
        rows = responses()
        rows[0]["question_source"] = "Chess"
        sources.put(COMMIT, all__jsonl=jsonl(rows))
        assert "holds data sets that are not known: Chess" in refused("criticbench_thu_math")

    def test_solutions_of_gsm8k_in_its_form(self, sources):
        path = SHARED / "data" / "gsm8k" / "example_model_solutions.jsonl"
        if not path.exists():
            pytest.skip(f"{path} is absent; set REDRAFT_SHARED to the folder with the data")
        told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:100]]
        systems = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]
        pairs = [(row, row[system]) for row in told for system in systems]
        rows = [
            {"id": number, "question": row["question"], "question_source": "GSM8K",
             "question_type": "math", "answer": [row["ground_truth"].rpartition("A: ")[2]],
             "response": answer["solution"], "response_label": answer["is_correct"]}
            for number, (row, answer) in enumerate(pairs)
        ]  # fmt: skip
        sources.put(COMMIT, all__jsonl=jsonl(rows))
        sources.path.write_text(sources.path.read_text().replace("rows = 15", "rows = 400"))
        opened, labels = Opened("criticbench_thu_math"), [row["response_label"] for row in rows]
        assert [grade["correct"] for grade in opened.labels()] == labels
        # One blank more, and the grader has to find out what the label says.
        texts = [f"{sample['given']['text']} " for sample in opened.samples]
        assert [opened.grades(i, text)[0]["correct"] for i, text in enumerate(texts)] == labels
        assert len({sample["cluster"] for sample in opened.samples}) == 100


def folder_of_all() -> Path:
    folder = SHARED / "data"
    if not (folder / "realcritic").is_dir():
        pytest.skip(f"{folder} is absent; set REDRAFT_SHARED to the folder with the data")
    return folder


class TestRealData:
    """The folder as it lies there: counts of the authors, by the stored labels."""

    @pytest.mark.parametrize(
        ("name", "right", "size"),
        [
            ("realcritic_arc-challenge", 131, 263), ("realcritic_gsm8k", 136, 273),
            ("realcritic_math", 134, 268), ("realcritic_mmlu_stem", 146, 292),
            ("bbm_dyck_languages", 482, 986), ("bbm_logical_deduction", 45, 300),
            ("bbm_multistep_arithmetic", 45, 300),
        ],
    )  # fmt: skip
    def test_keeping_every_solution_scores_what_was_published(self, monkeypatch, name, right, size):
        monkeypatch.setenv("REDRAFT_DATA_DIR", str(folder_of_all()))
        opened = Opened(name)
        grades = opened.labels()
        assert (sum(grade["correct"] for grade in grades), len(grades)) == (right, size)
        if name.startswith("bbm_"):
            whole = sum(grade["first_error"] == -1 for grade in grades)
            slips = sum(grade["correct"] and grade["first_error"] != -1 for grade in grades)
            published = {"bbm_dyck_languages": (336, 147), "bbm_logical_deduction": (6, 39)}
            assert (whole, slips) == published.get(name, (62, 1))
        else:
            assert "Qwen2.5-72B-Instruct" in {s["given"]["author"] for s in opened.samples}

    @pytest.mark.parametrize("part", ["gsm8k", "arc-challenge"])
    def test_the_grader_agrees_with_the_labels_on_the_predictions(self, monkeypatch, part):
        folder = folder_of_all()
        monkeypatch.setenv("REDRAFT_DATA_DIR", str(folder))
        path = folder / "realcritic" / f"{part}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        opened = Opened(f"realcritic_{part}")
        said = [f"So \\boxed{{{row['pred']}}}" for row in rows]  # as the authors read them
        grades = [opened.grades(i, text)[0] for i, text in enumerate(said)]
        assert [grade["correct"] for grade in grades] == [row["previous_score"][0] for row in rows]


async def test_the_process_of_a_task_fetches_and_keeps_the_label(sources):
    """The whole way: variables of ours and of the Hub reach the process that fetches."""
    name = "bbm_multistep_arithmetic"
    async with open_tasks([TaskSpec(name)]) as tasks:
        (sample, *_) = await tasks[name].samples(1)
        (grade,) = await tasks[name].grade("0", [sample.given.text])
    assert sample.given == Given("\n".join(mistakes()[0]["steps"]), tuple(mistakes()[0]["steps"]))
    assert (grade.correct, grade.first_error) == (False, 1)
    assert any(path.endswith("multistep_arithmetic.jsonl") for path in sources.hub.asked)


class TestDocument:
    """docs/critique-data.md names what there is."""

    TEXT = (REPOSITORY / "docs" / "critique-data.md").read_text(encoding="utf-8")
    FOLDER = load_suite("realcritic").path.parent.parent

    @pytest.mark.parametrize(
        ("prefix", "set_of", "placeholder"),
        [
            ("realcritic_", "realcritic", "set"), ("bbm_", "big_bench_mistake", "task"),
            ("criticbench_thu_", "criticbench_thu", "group"),
        ],
    )  # fmt: skip
    def test_every_task_is_named_with_the_size_of_its_set(self, prefix, set_of, placeholder):
        (line,) = [one for one in self.TEXT.splitlines() if f"`{prefix}<{placeholder}>`" in one]
        parts = [path.stem.removeprefix(prefix) for path in self.FOLDER.glob(f"{prefix}*.yaml")]
        told = line.split("|")[1].partition(" for ")[2].strip()
        assert sorted(told.split(", ")) == sorted(parts)
        sources = tomllib.loads((self.FOLDER / "sources.toml").read_text(encoding="utf-8"))
        assert f"{sum(file['rows'] for file in sources[set_of]['files'].values()):,} " in line

    def test_every_pinned_revision_is_a_commit(self):
        sources = tomllib.loads((self.FOLDER / "sources.toml").read_text(encoding="utf-8"))
        pinned = {name: len(source["revision"]) for name, source in sources.items()}
        assert pinned == {"realcritic": 40, "big_bench_mistake": 40, "criticbench_thu": 0}


class TestSuites:
    @pytest.mark.parametrize(("name", "size"), [("realcritic", 8), ("bbm", 5)])
    def test_they_come_with_the_package(self, name, size):
        suite = load_suite(name)
        assert len(suite.tasks) == size
        folder = suite.path.parent.parent
        assert {task.spec.name for task in suite.tasks} <= {p.stem for p in folder.glob("*.yaml")}
