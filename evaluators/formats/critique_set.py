"""Solutions to be judged, chosen from stored results after Luo et al. (arXiv 2310.04815).

Of every question and every model that answered it several times, one right solution and one
convincing wrong one are taken: the wrong one gives the most frequent wrong answer. Questions on
which the model is certain are left out; certainty is ln(f1/f2), with f1 and f2 the frequencies of
its two most frequent answers. (The paper does not print its formula; this one fits its thresholds.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from evaluators.answers import answer_key
from evaluators.formats.stored import StoredRun
from evaluators.model import Grade, Node, SampleResult

REPEATED = "the same call once more"
ASKED_OTHERWISE = "not an answer to the question as it was put"
CHANGED = "its question reads otherwise by now"
TRUNCATED = "cut off at the token limit"
EMPTY = "empty"
CHOSEN = "chosen by likelihood, not written"
UNGRADED = "could not be graded"
UNREAD = "no answer could be read from it"
"""Why a stored text is no candidate."""

FEW = "too few answers"
NO_RIGHT = "no right answer"
NO_WRONG = "no wrong answer: too easy"
CERTAIN = "the model is too certain"
SURPLUS = "more than were wanted"
"""Why a question gives no pair."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How pairs are chosen."""

    seed: int = 0
    """Decides among equals; nothing else is left to chance."""
    min_samples: int = 4
    """Answers that a model must have given to a question."""
    max_certainty: float = 1.0
    """Most that ln(f1/f2) may be."""
    pairs: int | None = None
    """Most pairs of a task and model, the least certain first."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a task, put to one model."""

    task: str
    sample: str
    generator: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graded solution."""

    text: str
    correct: bool
    answer: str

    @property
    def key(self) -> Decimal | str:
        """Under which equal answers collide."""
        return answer_key(self.answer)

    @property
    def steps(self) -> int:
        """How many steps it takes: its lines, or its sentences where it is one line."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        if len(lines) > 1:
            return len(lines)
        return max(1, sum(part.strip() != "" for part in self.text.split(". ")))


@dataclass(frozen=True, slots=True)
class Pair:
    """A right and a convincing wrong solution to one question by one model."""

    question: Question
    right: Candidate
    wrong: Candidate
    certainty: float
    samples: int
    """How many of the model's answers could be read."""


@dataclass(slots=True)
class Drops:
    """What was left out, counted by task and reason."""

    candidates: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    questions: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def still_asked(run: StoredRun, asked: Mapping[str, Mapping[str, str]], drops: Drops) -> StoredRun:
    """Return a run without answers to questions that its tasks do not ask any more.

    Graded by the task as it is now, they would be held against the answer to another question.

    Args:
        run: Anyone's results.
        asked: How each question reads now, by task and sample.
        drops: Where the texts left out are counted.
    """
    kept = dict[str, tuple[SampleResult, ...]]()
    for task, results in run.results.items():
        same = [_reads(result, asked[task].get(result.sample.id), run) for result in results]
        kept[task] = tuple(r for r, holds in zip(results, same, strict=True) if holds)
        for result, holds in zip(results, same, strict=True):
            if not holds:
                drops.candidates[task][CHANGED] += sum(1 for _ in _first_answers(result))
    return replace(run, results=kept)


def _reads(result: SampleResult, now: str | None, run: StoredRun) -> bool:
    """Tell whether a question was put as it reads now; others store it with what stood before."""
    if now is None:
        return False
    if run.origin == "redraft":
        return "\n\n".join(message.content for message in result.sample.question) == now
    shown = "\n\n".join(message.content for message in result.sample.messages)
    return shown.strip().endswith(now.strip())


def solutions(runs: Sequence[StoredRun], drops: Drops) -> dict[Question, list[str]]:
    """Return the texts that models wrote when they were asked a question and nothing more.

    Several methods of one run share their samples; each call counts once.
    """
    names = generators(runs)
    found: dict[Question, dict[str, str]] = defaultdict(dict)
    for run, name in zip(runs, names, strict=True):
        for task, results in run.results.items():
            for result in results:
                question = Question(task, result.sample.id, name)
                for node in _first_answers(result):
                    reason = _unfit(node, result)
                    key = _call(node, f"{run.source} {result.replicate} {node.idx}")
                    if reason is None and key in found[question]:
                        reason = REPEATED
                    if reason is None:
                        found[question][key] = node.text
                    else:
                        drops.candidates[task][reason] += 1
    return {question: list(texts.values()) for question, texts in found.items() if texts}


def generators(runs: Sequence[StoredRun]) -> list[str]:
    """Name the model of every run; two of one name are told apart by their fingerprints."""
    models = [run.run.model for run in runs]
    # A folder's path is nobody's business but its owner's.
    names = [Path(model).name if Path(model).is_absolute() else model for model in models]
    prints: dict[str, set[str]] = defaultdict(set)
    for name, run in zip(names, runs, strict=True):
        prints[name].add(run.run.fingerprint)
    return [
        name if len(prints[name]) == 1 else f"{name}@{run.run.fingerprint[:8]}"
        for name, run in zip(names, runs, strict=True)
    ]


def candidates(
    task: str, texts: Sequence[str], grades: Sequence[Grade | None], drops: Drops
) -> list[Candidate]:
    """Return the graded solutions from which an answer could be read."""
    found = []
    for text, grade in zip(texts, grades, strict=True):
        if grade is None:
            drops.candidates[task][UNGRADED] += 1
        elif grade.extracted is None:
            drops.candidates[task][UNREAD] += 1
        else:
            found.append(Candidate(text, grade.correct, grade.extracted))
    return found


def choose(
    graded: Mapping[Question, Sequence[Candidate]], settings: Settings, drops: Drops
) -> list[Pair]:
    """Return the pairs, in the order of their questions."""
    found: list[Pair] = []
    for question in sorted(graded, key=_place):
        pair = pair_of(question, graded[question], settings)
        if isinstance(pair, Pair):
            found.append(pair)
        else:
            drops.questions[question.task][pair] += 1
    return list(_wanted(found, settings, drops))


def pair_of(question: Question, graded: Sequence[Candidate], settings: Settings) -> Pair | str:
    """Return the pair of one question, or why it has none."""
    right = [one for one in graded if one.correct]
    wrong = [one for one in graded if not one.correct]
    if len(graded) < settings.min_samples:
        return FEW
    if not right:
        return NO_RIGHT
    if not wrong:
        return NO_WRONG
    level = certainty(graded)
    if level > settings.max_certainty:
        return CERTAIN
    seed = (settings.seed, *_place(question))
    counts = Counter(one.key for one in wrong)
    most = max(counts.values())
    convincing = min(
        (key for key, count in counts.items() if count == most),
        key=lambda key: drawn(*seed, str(key)),
    )
    among = [one for one in wrong if one.key == convincing]
    return Pair(question, _longest(right, seed), _longest(among, seed), level, len(graded))


def certainty(graded: Iterable[Candidate]) -> float:
    """Return ln(f1/f2) of the two most frequent answers; infinite where there is only one."""
    counts = [count for _, count in Counter(one.key for one in graded).most_common(2)]
    return math.log(counts[0] / counts[1]) if len(counts) > 1 else math.inf


def _first_answers(result: SampleResult) -> Iterator[Node]:
    for node in result.nodes:
        alone = node.round == 0 and not node.parents
        if node.kind == "answer" and node.role == "actor" and alone:
            yield node


def _unfit(node: Node, result: SampleResult) -> str | None:
    """Say why a node's text is no solution of the question as it was put."""
    if node.messages and node.messages != result.sample.messages:
        return ASKED_OTHERWISE
    if node.sees_gold or node.gated_by_gold:
        return ASKED_OTHERWISE
    if "choices" in node.payload or any(
        answer.likelihoods for answer in result.answers if answer.node == node.idx
    ):
        return CHOSEN
    if node.finish_reason == "length":
        return TRUNCATED
    return None if node.text.strip() else EMPTY


def _call(node: Node, place: str) -> str:
    """Return what makes two nodes the same call: prompt, sampling, seed; else where it stands."""
    if node.sampling is None:
        return place
    s = node.sampling
    wire = [message.wire() for message in node.messages]
    return json.dumps([wire, s.max_tokens, s.temperature, s.top_p, s.stop, s.seed])


def _wanted(found: Sequence[Pair], settings: Settings, drops: Drops) -> Iterator[Pair]:
    """Yield at most as many pairs of a task and model as are wanted, the least certain first."""
    by_group: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in found:
        by_group[pair.question.task, pair.question.generator].append(pair)
    for (task, _), pairs in by_group.items():
        ranked = sorted(
            pairs, key=lambda pair: (pair.certainty, drawn(settings.seed, *_place(pair.question)))
        )
        yield from ranked[: settings.pairs]
        drops.questions[task][SURPLUS] += len(ranked) - len(ranked[: settings.pairs])


def _longest(among: Sequence[Candidate], seed: Sequence[object]) -> Candidate:
    """Return the solution with the most steps; the seed decides among equals."""
    return min(among, key=lambda one: (-one.steps, drawn(*seed, one.text)))


def _place(question: Question) -> tuple[str, str, str]:
    return question.task, question.sample, question.generator


def drawn(*parts: object) -> str:
    """Return a place in an order that looks drawn, and that is the same everywhere."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
