"""Likelihood mode is lm-eval's multiple choice: `acc` and `acc_norm` of every sample are equal.

Both sides run whole: stock `lm_eval.simple_evaluate` on its own `hf` model with its own files, and
our task process, runtime and evaluator, with chat template and few-shot examples.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import evaluators
from evaluators.model import SampleResult
from evaluators.registry import load_evaluator
from evaluators.runtimes import ModelSpec
from evaluators.session import Method, Plan, Report, run_plan
from evaluators.tasks import TaskSpec

pytestmark = [
    # SwigPy types of sentencepiece and torch's own use of deprecated names; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

BUNDLED = Path(evaluators.__file__).parent / "tasks" / "bundled"
LIMIT = 20

FUNCTIONS = '''
from datasets import Dataset

WORDS = ["tree", "old stone", "a very long river bend", "sun", "é", "two words"]

def documents(**_):
    docs = [
        {"n": n, "q": f"What stands in place {n}?", "gold": n % 3, "both": [n % 3, (n + 1) % 3],
         "options": [WORDS[n % 6], WORDS[(n + 2) % 6], f"{WORDS[(n + 4) % 6]} {n}"],
         "begin": "It is the"}
        for n in range(24)
    ]
    return {"test": Dataset.from_list(docs[:20]), "shots": Dataset.from_list(docs[20:])}

def listed(doc):
    return [option.upper() for option in doc["options"]]

def softly(doc, results):
    """Score by probability, as truthfulqa_mc2 does."""
    import numpy as np
    logprobs = np.array([logprob for logprob, _ in results])
    weights = np.exp(logprobs - logprobs.max())
    return {"acc": float(weights[doc["gold"]] / weights.sum())}
'''

TASK = """
task: {name}
custom_dataset: !function options.documents
output_type: multiple_choice
test_split: test
fewshot_split: shots
doc_to_text: "Q: {{{{q}}}}\\nA:"
doc_to_choice: options
doc_to_target: gold
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_bytes, aggregation: mean, higher_is_better: true}}
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
{more}
"""

MORE = {
    "plain": "",
    "described": 'description: "Place {{n}}.\\n\\n"',
    "delimited": 'target_delimiter: " => "\ngen_prefix: begin',
    "functional": "doc_to_choice: !function options.listed",
    "several_right": "doc_to_target: both\nfewshot_config: {doc_to_target: gold}",
    "soft": "process_results: !function options.softly\n"
    "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Task files with multi-token options and everything that changes what is weighed."""
    made = tmp_path_factory.mktemp("choices")
    (made / "options.py").write_text(FUNCTIONS)
    for name, more in MORE.items():
        text = TASK.format(name=name, more=more)
        if "metric_list" in more:
            text = text.replace(text[text.index("metric_list") : text.index(more)], "")
        (made / f"{name}.yaml").write_text(text)
    return made


def paths(folder: Path) -> list[Path]:
    return [*(folder / f"{name}.yaml" for name in MORE), *sorted(BUNDLED.glob("rgmc_*.yaml"))]


@pytest.fixture(scope="module")
def wide_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with room for examples: its tokens are bytes, and nothing may be cut."""
    made = shutil.copytree(tiny_model, tmp_path_factory.mktemp("wide") / "model")
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    return made


@pytest.fixture(scope="module")
def theirs(folder: Path, wide_model: Path) -> Mapping[str, list[dict[str, Any]]]:
    """What stock lm-eval logs of every sample."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(wide_model), device="cpu", dtype="float32", batch_size=4)
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=[str(path) for path in paths(folder)],
        task_manager=TaskManager(include_defaults=False),
        num_fewshot=2,
        limit=LIMIT,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
    )
    samples: Mapping[str, list[dict[str, Any]]] = results["samples"]
    return samples


@pytest.fixture(scope="module")
def ours(folder: Path, wide_model: Path) -> Report:
    """What our command line would keep of them, with other requests in every batch."""
    args = {"pretrained": str(wide_model), "dtype": "float32", "device": "cpu"}
    tasks = [
        TaskSpec(path.stem, num_fewshot=2, mode="likelihood", max_tokens=8)
        for path in paths(folder)
    ]
    evaluator = load_evaluator("choice_likelihood")
    plan = Plan(
        ModelSpec("lm-eval", "hf", args, batch_size=4),
        (Method(evaluator, {}),),
        tuple(tasks),
        {spec.key: LIMIT for spec in tasks},
        include_paths=(folder, BUNDLED),
    )
    return asyncio.run(run_plan(plan))


def by_document(results: Sequence[SampleResult]) -> dict[int, SampleResult]:
    return {int(result.sample.id): result for result in results}


@pytest.mark.parametrize("name", [*MORE, *(path.stem for path in sorted(BUNDLED.glob("rgmc_*")))])
def test_every_metric_of_every_sample_is_lm_evals(
    name: str, theirs: Mapping[str, list[dict[str, Any]]], ours: Report
) -> None:
    found = by_document(ours.results["choice_likelihood", f"{name}:likelihood"])
    logged = theirs[name]
    assert len(logged) == len(found) == LIMIT
    for row in logged:
        result = found[row["doc_id"]]
        assert result.status == "ok"
        (answer,) = result.answers
        assert result.sample.choices == tuple(sent[1] for sent in row["arguments"])
        for choice, (said,) in zip(answer.likelihoods, row["resps"], strict=True):
            assert (choice.logprob, choice.greedy) == (pytest.approx(said[0], abs=1e-3), said[1])
        numbers = {
            f"{metric},{row['filter']}": float(row[metric])
            for metric in row["metrics"]
            if isinstance(row[metric], int | float)
        }
        if name == "soft":
            assert answer.grade.scores == pytest.approx(numbers, abs=1e-4)
        else:
            assert {"acc,none", "acc_norm,none"} <= numbers.keys()
            assert answer.grade.scores == numbers


def test_both_sides_are_neither_always_right_nor_always_wrong(ours: Report) -> None:
    """Otherwise equal scores would say nothing."""
    scores = [
        result.answers[0].grade.scores["acc_norm,none"]
        for (_, task), results in ours.results.items()
        if task != "soft:likelihood"
        for result in results
    ]
    assert 0.1 < sum(scores) / len(scores) < 0.9
