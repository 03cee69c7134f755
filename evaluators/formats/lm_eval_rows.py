"""One sample line of lm-eval's per answer and filter, with our fields behind theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evaluators.formats.results import clean_text, plain
from evaluators.formats.stored import RunInfo
from evaluators.model import AnswerState, Json, Node, SampleResult

INVALID = "[invalid]"
"""What lm-eval's filters say when they extract nothing."""

FEEDBACK = frozenset({"critique", "verify", "reflect", "decide"})
"""Kinds of nodes whose text goes into a revision."""


def scored(results: Iterable[SampleResult]) -> list[SampleResult]:
    """Return the results that lm-eval's files can hold: those with a graded answer."""
    return [result for result in results if result.status == "ok" and result.answers]


def rows(results: Sequence[SampleResult], number: int, *, run: RunInfo) -> Iterator[dict[str, Any]]:
    """Yield the sample lines of one round: for every filter, every graded sample in order.

    A sample that stopped earlier stands there with the answer it stopped at; each replicate has a
    line of its own under the document's number.
    """
    graded, doc_ids = scored(results), _doc_ids(results)
    names = dict.fromkeys(
        name for result in graded for answer in result.answers for name in filters(answer)
    )
    for name in names:
        for result in graded:
            last = min(number, len(result.answers))
            if name in filters(result.answers[last - 1]):
                row = _row(result, last, name, run=run)
                yield row | {"doc_id": doc_ids[result.sample.id], "round": number}


def filters(answer: AnswerState) -> list[str]:
    """Return the filters that an answer was graded with."""
    return list(dict.fromkeys(key.rpartition(",")[2] for key in answer.grade.scores))


def sha(text: str) -> str:
    """Return lm-eval's hash of a text."""
    return hashlib.sha256(clean_text(text).encode()).hexdigest()


def _doc_ids(results: Sequence[SampleResult]) -> dict[str, int]:
    """Number the documents as the task does where its ids are numbers, else in order."""
    ids = list(dict.fromkeys(result.sample.id for result in results))
    if all(name.isascii() and name.isdigit() for name in ids):
        return {name: int(name) for name in ids}
    return {name: number for number, name in enumerate(ids)}


def _row(result: SampleResult, number: int, name: str, *, run: RunInfo) -> dict[str, Any]:
    """Return lm-eval's fields of one answer under one filter, and ours behind them."""
    answer, sample = result.answers[number - 1], result.sample
    node = next((node for node in result.nodes if node.idx == answer.node), None)
    prompt = _prompt(result, node)
    said = _likelihoods(answer, prompt) if answer.likelihoods else _text(answer, name, prompt, node)
    given = {} if sample.given is None else {"given": plain(sample.given)}
    first_error = answer.grade.first_error
    doc = {"id": sample.id, **sample.metadata, **given}
    target = _target(result, answer)
    scores = {
        key.rpartition(",")[0]: value
        for key, value in answer.grade.scores.items()
        if key.rpartition(",")[2] == name
    }
    return {
        "doc_id": 0,
        "doc": doc,
        "target": target,
        **said,
        "filter": name,
        "metrics": list(scores),
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(prompt),
        "target_hash": sha(target),
        **scores,
        "round": number,
        "role": "generate" if number == 1 else "revise",
        "replicate": result.replicate,
        "evaluator": run.evaluator,
        "evaluator_version": run.evaluator_version,
        "prev_correct": result.answers[number - 2].grade.correct if number > 1 else None,
        "critiques": _critiques(result, number),
        **({} if first_error is None else {"first_error": first_error}),
    }


def _prompt(result: SampleResult, node: Node | None) -> str:
    """Return what the model was shown; a vote shows the sample's prompt."""
    messages = (node.messages if node else ()) or result.sample.messages
    return json.dumps([message.wire() for message in messages], ensure_ascii=False)


def _text(answer: AnswerState, name: str, prompt: str, node: Node | None) -> dict[str, Any]:
    extracted = answer.grade.extractions.get(name, answer.grade.extracted)
    return {
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": _settings(node)}},
        "resps": [[answer.text]],
        "filtered_resps": [INVALID if extracted is None else extracted],
    }


def _likelihoods(answer: AnswerState, prompt: str) -> dict[str, Any]:
    """Return one request per choice, its log-likelihood and whether greedy decoding writes it."""
    replies = [[str(choice.logprob), str(choice.greedy)] for choice in answer.likelihoods]
    return {
        "arguments": {
            f"gen_args_{i}": {"arg_0": prompt, "arg_1": choice.text}
            for i, choice in enumerate(answer.likelihoods)
        },
        "resps": [[reply] for reply in replies],
        "filtered_resps": replies,
    }


def _target(result: SampleResult, answer: AnswerState) -> str:
    """Return the gold answer; where choices are scored, its place among them, as lm-eval does."""
    gold, options = answer.grade.gold, [choice.strip() for choice in result.sample.choices]
    if not answer.likelihoods or gold.strip() not in options:
        return gold
    return str(options.index(gold.strip()))


def _settings(node: Node | None) -> dict[str, Json]:
    if node is None or node.sampling is None:
        return {}
    sampling = node.sampling
    return {
        "until": list(sampling.stop),
        "max_gen_toks": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "do_sample": sampling.temperature > 0,
    }


def _critiques(result: SampleResult, number: int) -> list[str]:
    """Return what was said of the answer before, by whichever model."""
    if number < 2:
        return []
    before, here = (result.answers[i].node for i in (number - 2, number - 1))
    return [n.text for n in result.nodes if before < n.idx < here and n.kind in FEEDBACK and n.text]


def dump(row: Mapping[str, Any]) -> str:
    """Return a line of JSON that every reader takes."""
    return json.dumps(clean(row), ensure_ascii=False, allow_nan=False)


def clean(value: Any) -> Any:
    """Return JSON whose text every reader takes."""
    match value:
        case str():
            return clean_text(value)
        case Mapping():
            return {clean_text(str(key)): clean(item) for key, item in value.items()}
        case list() | tuple():
            return [clean(item) for item in value]
    return value
