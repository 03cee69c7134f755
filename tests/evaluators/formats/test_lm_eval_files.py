"""Files that lm-eval's own readers take for lm-eval's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.formats.lm_eval_files import RunInfo, mean_stderr, sanitised, write_lm_eval
from evaluators.model import Grade

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN = RunInfo(
    model="org/tiny model",
    model_source="hf",
    evaluator="reask",
    evaluator_version="0.1.0",
    started=STARTED,
    model_args={"pretrained": "org/tiny model"},
    params={"rounds": 2},
    model_sha="a" * 40,
    model_dtype="float32",
    fingerprint="f",
    batch_size=8,
    limit=4,
    seed=7,
    seconds=12.5,
    chat_template="{{ messages }}",
)


@pytest.fixture(scope="module")
def lm_eval() -> Iterator[Any]:
    """lm-eval's modules that read result files."""
    with warnings.catch_warnings():
        # Its dependencies warn while they are imported; their warnings are not ours to heed.
        warnings.simplefilter("ignore")
        from lm_eval import result_schema, utils
        from lm_eval.api import metrics
        from lm_eval.loggers import evaluation_tracker

    class Modules(NamedTuple):
        utils: Any
        metrics: Any
        schema: Any
        tracker: Any

    return Modules(utils, metrics, result_schema, evaluation_tracker)


@pytest.fixture
def written(tmp_path: Path, result: Any, unscored: Any, task_info: Any) -> list[Path]:
    found = [
        result(0, (False, True, True)),
        result(1, (True,)),
        result(2, (False, False)),
        unscored(3),
        result(0, (True, True), task="words/de"),
    ]
    tasks = {name: task_info(name) for name in ("sums", "words/de")}
    return write_lm_eval(tmp_path, found, tasks=tasks, run=RUN)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_names_and_order_of_files(written: list[Path], tmp_path: Path) -> None:
    stamp = STARTED.astimezone().replace(tzinfo=None).isoformat(timespec="microseconds")
    stamp = stamp.replace(":", "-")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        f"org__tiny model/samples_sums_round1_{stamp}.jsonl",
        f"org__tiny model/samples_sums_round2_{stamp}.jsonl",
        f"org__tiny model/samples_sums_{stamp}.jsonl",
        f"org__tiny model/samples_words__de_round1_{stamp}.jsonl",
        f"org__tiny model/samples_words__de_{stamp}.jsonl",
        f"org__tiny model/results_{stamp}.json",
    ]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)


def test_a_line_per_filter_and_a_file_per_round(written: list[Path]) -> None:
    first, second, last = (lines(path) for path in written[:3])
    assert [(row["filter"], row["doc_id"]) for row in last] == [
        ("strict", 0), ("strict", 1), ("strict", 2), ("loose", 0), ("loose", 1), ("loose", 2),
    ]  # fmt: skip
    assert [row["exact_match"] for row in first if row["filter"] == "strict"] == [0, 1, 0]
    assert [row["exact_match"] for row in second if row["filter"] == "strict"] == [1, 1, 0]
    assert [row["exact_match"] for row in last if row["filter"] == "strict"] == [1, 1, 0]
    assert {row["round"] for row in second} == {2}
    assert [row["prev_correct"] for row in first[:3]] == [None, None, None]
    assert [row["prev_correct"] for row in last[:3]] == [True, None, False]
    assert [row["role"] for row in last[:3]] == ["revise", "generate", "revise"]


def test_a_sample_line_says_all_there_is(written: list[Path]) -> None:
    row = lines(written[2])[2]
    prompt = json.loads(row["arguments"]["gen_args_0"]["arg_0"])
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
    assert row["arguments"]["gen_args_0"]["arg_1"] == {
        "until": ["\n"], "max_gen_toks": 256, "temperature": 0.0, "top_p": 1.0, "do_sample": False,
    }  # fmt: skip
    assert row["doc"] == {"id": "2", "digits": 1}
    assert row["target"] == "3"
    assert row["resps"] == [["It is unclear"]]
    assert row["filtered_resps"] == ["[invalid]"]
    assert row["metrics"] == ["exact_match"]
    assert (row["evaluator"], row["evaluator_version"], row["replicate"]) == ("reask", "0.1.0", 0)


def test_summary(written: list[Path]) -> None:
    found = json.loads(written[-1].read_text())
    assert found["results"]["sums"] == {
        "name": "sums",
        "alias": "sums",
        "sample_len": 3,
        "exact_match,strict": pytest.approx(2 / 3),
        "exact_match_stderr,strict": pytest.approx(1 / 3),
        "exact_match,loose": 1.0,
        "exact_match_stderr,loose": 0.0,
    }
    assert found["results"]["words/de"]["exact_match_stderr,strict"] == "N/A"
    assert found["n-samples"]["sums"] == {"original": 50, "effective": 3}
    assert found["n-shot"] == {"sums": 3, "words/de": 3}
    assert found["higher_is_better"]["sums"] == {"exact_match": True}
    assert found["config"]["model_sha"] == "a" * 40
    assert found["config"]["torch_seed"] == 7
    assert found["date"] == STARTED.timestamp()
    redraft = found["redraft"]
    assert redraft["params"] == {"rounds": 2}
    assert redraft["decomposition"]["sums"]["n_total"] == 4
    assert redraft["decomposition"]["sums"]["cells"] == {"cc": 1, "ci": 0, "ic": 1, "ii": 1}


class TestStockReaders:
    def test_names_are_parsed(self, written: list[Path], lm_eval: Any) -> None:
        utils, names = lm_eval.utils, [f"/{path.parent.name}/{path.name}" for path in written]
        assert utils.get_results_filenames(names) == names[-1:]
        assert utils.get_sample_results_filenames(names) == names[:-1]
        tasks = [utils.get_file_task_name(path.name) for path in written[:3]]
        assert tasks == ["sums_round1", "sums_round2", "sums"]
        stamps = {utils.get_file_datetime(path.name) for path in written[:-1]}
        assert stamps == {utils.get_file_datetime(written[-1].name).removesuffix(".json")}
        assert datetime.strptime(stamps.pop(), "%Y-%m-%dT%H-%M-%S.%f")  # noqa: DTZ007 - lm-eval's names carry no zone

    def test_table_is_printed(self, written: list[Path], lm_eval: Any) -> None:
        table = lm_eval.utils.make_table(json.loads(written[-1].read_text()))
        (row,) = [line for line in table.splitlines() if line.startswith("|sums")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        # The table writer prints version and value as the numbers they look like.
        assert cells[0] == "sums"
        assert float(cells[1]) == 2
        assert cells[2:6] == ["loose", "3", "exact_match", "↑"]
        assert float(cells[6]) == 1
        assert cells[7] == "±"
        assert float(cells[8]) == 0

    def test_every_key_is_one_of_lm_evals_schema(self, written: list[Path], lm_eval: Any) -> None:
        known = lm_eval.schema.EvalResults.__annotations__
        found = json.loads(written[-1].read_text())
        assert set(found) - set(known) == {"redraft"}
        environment = {"pretty_env_info", "upper_git_hash", "eot_token_id", "max_length"}
        environment |= {f"tokenizer_{kind}_token" for kind in ("pad", "eos", "bos")}
        assert set(known) - set(found) == {"groups", "samples", *environment}
        fields = set(lm_eval.schema.SampleResult.__annotations__)
        for row in lines(written[0]):
            assert fields <= set(row)
            assert {type(row[metric]) for metric in row["metrics"]} <= {float}

    def test_lm_evals_own_writer_writes_the_same_lines(
        self, written: list[Path], lm_eval: Any, tmp_path: Path
    ) -> None:
        """Hand lm-eval what it would have logged; its lines are ours without our fields."""
        ours = lines(written[2])
        fields = [*lm_eval.schema.SampleResult.__annotations__, "exact_match"]
        logged = []
        for row in ours:
            arguments = row["arguments"]["gen_args_0"]
            sample = {key: row[key] for key in fields}
            logged.append(sample | {"arguments": [(arguments["arg_0"], arguments["arg_1"])]})
        tracker = lm_eval.tracker.EvaluationTracker(output_path=str(tmp_path / "theirs"))
        tracker.general_config_tracker.log_experiment_args(
            "hf", {"pretrained": RUN.model}, None, RUN.chat_template, fewshot_as_multiturn=True
        )
        tracker.save_results_aggregated({"results": {}}, {"sums": logged})
        tracker.save_results_samples("sums", logged)
        (theirs,) = (tmp_path / "theirs").rglob("samples_*.jsonl")
        assert theirs.parent.name == written[2].parent.name
        assert lines(theirs) == [{key: row[key] for key in fields} for row in ours]
        (summary,) = (tmp_path / "theirs").rglob("results_*.json")
        their_summary = json.loads(summary.read_text())
        our_summary = json.loads(written[-1].read_text())
        for key in ("chat_template_sha", "model_name_sanitized", "model_source"):
            assert their_summary[key] == our_summary[key]
        assert their_summary["task_hashes"]["sums"] == our_summary["task_hashes"]["sums"]

    def test_datasets_loads_the_samples(self, written: list[Path], tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            from datasets import load_dataset

            files = [str(written[1]), str(written[2])]
            found = load_dataset(
                "json", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
            )
        assert found.num_rows == 12
        assert found[0]["filtered_resps"] == ["1"]

    @settings(max_examples=50, deadline=None)
    @given(scores=st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1), min_size=2, max_size=50))
    def test_standard_error_is_lm_evals(self, lm_eval: Any, scores: list[float]) -> None:
        expected = lm_eval.metrics.mean_stderr(scores)
        assert mean_stderr(scores) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    @given(name=st.text(min_size=1).filter(lambda t: t not in {".", ".."} and t.isprintable()))
    def test_folder_is_named_as_lm_eval_names_it(self, lm_eval: Any, name: str) -> None:
        assert sanitised(name) == lm_eval.utils.sanitize_model_name(name)


@pytest.mark.parametrize("name", ["..", ".", "", "../../etc", "a/../../b", "C:\\x", "a\0b"])
def test_no_name_leaves_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / sanitised(name)
    assert folder.resolve().parent == tmp_path.resolve()


class TestEdges:
    def test_nothing_scored(self, tmp_path: Path, unscored: Any, task_info: Any) -> None:
        (only,) = write_lm_eval(tmp_path, [unscored()], tasks={"sums": task_info("sums")}, run=RUN)
        found = json.loads(only.read_text())
        assert found["results"]["sums"] == {"name": "sums", "alias": "sums", "sample_len": 0}

    def test_ids_that_are_no_numbers_are_numbered_in_order(
        self, tmp_path: Path, result: Any, task_info: Any
    ) -> None:
        found = []
        for name in ("x", "7"):
            plain = result(7, (True,))
            found.append(replace(plain, sample=replace(plain.sample, id=name)))
        path, _ = write_lm_eval(tmp_path, found, tasks={"sums": task_info("sums")}, run=RUN)
        assert [row["doc_id"] for row in lines(path)] == [0, 1, 0, 1]

    def test_answers_that_no_call_made_show_the_samples_prompt(
        self, tmp_path: Path, result: Any, task_info: Any
    ) -> None:
        voted = result(1, (True,))
        node = replace(voted.nodes[0], kind="vote", messages=(), sampling=None, usage=None)
        path, _ = write_lm_eval(
            tmp_path, [replace(voted, nodes=(node,))], tasks={"sums": task_info("sums")}, run=RUN
        )
        arguments = lines(path)[0]["arguments"]["gen_args_0"]
        assert json.loads(arguments["arg_0"])[-1] == {"role": "user", "content": "1 + 1?"}
        assert arguments["arg_1"] == {}

    def test_a_filter_that_one_sample_lacks(
        self, tmp_path: Path, result: Any, task_info: Any
    ) -> None:
        full, bare = result(0, (True,)), result(1, (True,))
        grade = replace(bare.answers[0].grade, scores={"exact_match,strict": 0.5})
        bare = replace(bare, answers=(replace(bare.answers[0], grade=grade),))
        tasks = {"sums": task_info("sums")}
        path, summary = write_lm_eval(tmp_path, [full, bare], tasks=tasks, run=RUN)
        found = [(row["filter"], row["doc_id"]) for row in lines(path)]
        assert found == [("strict", 0), ("strict", 1), ("loose", 0)]
        metrics = json.loads(summary.read_text())["results"]["sums"]
        assert metrics["exact_match,strict"] == 0.75
        assert metrics["exact_match_stderr,loose"] == "N/A"

    def test_text_is_made_safe(self, tmp_path: Path, result: Any, task_info: Any) -> None:
        odd = result(1, (True,))
        grade = Grade(True, 1.0, "\ud800", "g\0", {"exact_match,strict": 1.0})
        odd = replace(odd, answers=(replace(odd.answers[0], text="\ud800\0", grade=grade),))
        path, _ = write_lm_eval(tmp_path, [odd], tasks={"sums": task_info("sums")}, run=RUN)
        (row,) = lines(path)
        assert (row["resps"], row["filtered_resps"], row["target"]) == (
            [["\ufffd"]],
            ["\ufffd"],
            "g",
        )

    def test_versions_that_are_not_installed(self) -> None:
        from evaluators.formats.lm_eval_files import _installed

        assert _installed("no-such-distribution") == "N/A"
