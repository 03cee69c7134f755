"""The one place that knows reasoning-gym: documents made in code, and their verifiers."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from evaluators.tasks.datasets import dataset
from evaluators.tasks.distractors import choose, offered
from evaluators.tasks.extraction import INVALID

Doc: TypeAlias = dict[str, Any]
"""A document as lm-eval hands it to a task's functions."""

_MOST_TRIES = 40
"""How many documents are looked at for each one wanted: small generators repeat themselves."""


class _Generator(Protocol):
    """What is used of `reasoning_gym.ProceduralDataset`."""

    def __getitem__(self, index: int) -> dict[str, Any]: ...
    def score_answer(self, answer: str | None, entry: dict[str, Any]) -> float: ...


def documents(
    *,
    generator: str,
    seed: int,
    size: int = 200,
    fewshot_size: int = 16,
    options: Mapping[str, Any] | None = None,
    fields: Sequence[str] = (),
    choices: Mapping[str, Any] | None = None,
    **_metadata: object,
) -> dict[str, Any]:
    """Build the splits `test` and `fewshot`; no question occurs twice in either or in both.

    Args:
        generator: Name of the reasoning-gym generator.
        seed: Seed of the test split; the few-shot split takes the next one.
        options: The generator's own settings.
        fields: Facts of the generator's metadata that the question shows.
        choices: For multiple choice, what options are made of: `kind` as `distractors.choose` takes
            it, with `texts`, a `field` of the metadata, or the answers to other questions; and how
            many wrong ones, as `count`.
    """
    recipe = json.dumps(dict(options or {}), sort_keys=True)
    seen: set[str] = set()
    splits = {}
    for split, split_seed, wanted in (("test", seed, size), ("fewshot", seed + 1, fewshot_size)):
        docs: list[Doc] = []
        for doc in _distinct(generator, split_seed, recipe=recipe, seen=seen, tries=wanted):
            docs.append(doc | {name: _shown(doc["metadata"][name]) for name in fields})
            if len(docs) == wanted:
                break
        else:
            raise ValueError(f"{generator} has {len(docs)} questions for {split}, not {wanted}")
        if choices is not None:
            docs = _with_options(docs, choices)
        splits[split] = dataset([{k: v for k, v in d.items() if k != "metadata"} for d in docs])
    return splits


def _with_options(docs: Sequence[Doc], choices: Mapping[str, Any]) -> list[Doc]:
    """Give every question its options; `gold` is the place of the right one."""
    answers = sorted({doc["target"] for doc in docs})
    made = []
    for doc in docs:

        def is_right(text: str, doc: Doc = doc) -> bool:
            return score(doc, [text])["score"] >= 1

        options, gold = choose(
            doc["target"],
            kind=choices["kind"],
            key=f"{doc['generator']}:{doc['seed']}:{doc['index']}",
            among=offered(choices, doc["metadata"]) or answers,
            count=int(choices.get("count", 3)),
            is_right=is_right,
        )
        made.append(doc | {"choices": options, "gold": gold})
    return made


def score(doc: Doc, results: Sequence[str]) -> dict[str, float]:
    """Score an extracted answer by the generator's own verifier; what it cannot read is wrong."""
    answer = results[0]
    if answer == INVALID:
        return {"score": 0.0}
    verifier = _generator(doc["generator"], doc["seed"], doc["options"])
    entry = verifier[doc["index"]]
    if _is_list(entry["answer"]):
        items = [] if answer.casefold() == "none" else answer.split(",")
        answer = str([item.strip() for item in items])
    try:
        return {"score": float(verifier.score_answer(answer, entry))}
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return {"score": 0.0}


def _distinct(
    generator: str, seed: int, *, recipe: str, seen: set[str], tries: int
) -> Iterator[Doc]:
    source = _generator(generator, seed, recipe)
    for index in range(tries * _MOST_TRIES):
        entry = source[index]
        if entry["question"] in seen:
            continue
        seen.add(entry["question"])
        yield {
            "question": entry["question"].strip(),
            "target": _shown(ast.literal_eval(entry["answer"])) if _is_list(entry["answer"])
            else entry["answer"],
            "generator": generator,
            "seed": seed,
            "index": index,
            "options": recipe,
            "metadata": entry["metadata"],
        }  # fmt: skip


@lru_cache(maxsize=64)
def _generator(name: str, seed: int, recipe: str) -> _Generator:
    import reasoning_gym  # type: ignore[import-untyped] # it has no types

    made: _Generator = reasoning_gym.create_dataset(
        name, seed=seed, size=1_000_000, **json.loads(recipe)
    )
    return made


def _is_list(answer: str) -> bool:
    return answer.startswith("[") and answer.endswith("]")


def _shown(fact: object) -> str:
    """Write a fact the way a question shows it: lists with commas, counts as `2 x cow`."""
    if isinstance(fact, Mapping):
        return ", ".join(f"{count} x {name}" for name, count in fact.items())
    if isinstance(fact, list | tuple):
        return ", ".join(map(str, fact)) or "none"
    return str(fact)
