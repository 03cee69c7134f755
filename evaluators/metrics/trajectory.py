"""Graded trajectories: what a metric may know of one sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from evaluators.metrics.judgement import Judgement
from evaluators.model import Json, SampleResult, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The graded answer states of one sample, first to last, and what they cost."""

    id: str
    """Stable within its task."""
    correct: tuple[bool, ...]
    """Whether each answer state is right; empty only when unscored."""
    task: str = ""
    cluster: str = ""
    """Samples of one cluster are not independent; empty means the question is its own cluster."""
    replicate: int = 0
    """Which draw of the same question; draws of one question share a cluster."""
    parsed: tuple[bool, ...] = ()
    """Whether an answer could be extracted from each state; empty when not recorded."""
    truncated: tuple[bool, ...] = ()
    """Whether each state hit its token limit; empty when not recorded."""
    changed: tuple[bool, ...] = ()
    """Whether each state differs from the one before, index 0 never; empty when not recorded."""
    calls: int | None = None
    """Model calls; None when not recorded, like the tokens below."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_computed: int | None = None
    """Generated tokens that were not shared with another run."""
    tokens_first: int | None = None
    """Generated tokens that the first answer alone needed."""
    calls_first: int | None = None
    """Calls that it needed, none for a given solution; taken for 1 where not recorded."""
    scored: bool = True
    """False: counted in n_total, never in n."""
    abstained: tuple[bool, ...] = ()
    """Whether the model declined to answer at each state; empty when not recorded."""
    judgements: tuple[Judgement, ...] = ()
    """What was said about answers on the way, beside the truth."""
    odds: tuple[float, float, float] | None = None
    """By label probabilities: P(right at first), P(right again | right), P(right then | wrong)."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What the evaluator noted besides, under names of its choosing."""

    @property
    def question(self) -> tuple[str, str]:
        """The cluster the sample belongs to, unique across tasks."""
        return (self.task, self.cluster or self.id)

    @classmethod
    def from_result(cls, result: SampleResult) -> Trajectory:
        """Keep what metrics need of a finished sample."""
        answers = result.answers
        first = _usages_of_first_answer(result)
        return cls(
            id=result.sample.id,
            task=result.sample.task,
            cluster=result.sample.cluster,
            replicate=result.replicate,
            correct=tuple(a.grade.correct for a in answers),
            parsed=tuple(a.grade.extracted is not None for a in answers),
            truncated=tuple(a.truncated for a in answers),
            changed=tuple(i > 0 and a.changed for i, a in enumerate(answers)),
            calls=result.calls,
            tokens_in=result.tokens_in,
            tokens_out=result.tokens_out,
            tokens_computed=result.tokens_computed,
            tokens_first=sum(usage.completion_tokens for usage in first) if answers else None,
            calls_first=len(first) if answers else None,
            scored=result.status == "ok" and bool(answers),
            abstained=_abstained(result),
            judgements=_judgements(result),
            odds=_odds(result),
            facts=result.facts,
        )


def _usages_of_first_answer(result: SampleResult) -> list[Usage]:
    """Return what the calls took that the first answer's node builds on, its own among them."""
    nodes = {node.idx: node for node in result.nodes}
    todo, seen = [answer.node for answer in result.answers[:1]], set[int]()
    while todo:
        idx = todo.pop()
        if idx in nodes and idx not in seen:
            seen.add(idx)
            todo.extend(nodes[idx].parents)
    return [usage for idx in seen if (usage := nodes[idx].usage)]


def _judgements(result: SampleResult) -> tuple[Judgement, ...]:
    """Put every verdict beside the grade of the answer it is about."""
    return tuple(
        Judgement(
            result.answers[v.answer].grade.correct,
            v.value,
            v.score,
            location=v.step,
            gold_location=result.answers[v.answer].grade.first_error,
        )
        for v in result.verdicts
        if 0 <= v.answer < len(result.answers)
    )


def _abstained(result: SampleResult) -> tuple[bool, ...]:
    """Return what the evaluator recorded as `abstained`: true or false for every answer."""
    states = result.facts.get("abstained")
    if not isinstance(states, list | tuple) or len(states) != len(result.answers):
        return ()
    return tuple(state is True for state in states)


def _odds(result: SampleResult) -> tuple[float, float, float] | None:
    """Return the chances that recorded label probabilities give, where gold is one of the labels.

    Here and not in the evaluator, which never learns which label is right.
    """
    from evaluators.metrics.cvc import odds_of_labels

    facts: Any = result.facts
    if not result.answers or not {"labels", "p1", "p2"} <= facts.keys():
        return None
    gold = result.answers[0].grade.gold.strip()
    try:
        right = [i for i, label in enumerate(facts["labels"]) if str(label).strip() == gold]
        if len(right) != 1:
            return None
        odds = odds_of_labels(right[0], facts["p1"], facts["p2"])
    except (TypeError, ValueError):
        return None  # another method's facts of the same names
    return odds.first, odds.kept, odds.fixed


States = Literal["correct", "parsed", "truncated", "changed", "abstained"]
Costs = Literal[
    "calls", "tokens_in", "tokens_out", "tokens_computed", "tokens_first", "calls_first"
]  # fmt: skip


class Graded(Sequence[Trajectory]):
    """Trajectories of one task with the arrays that all metrics share, built once."""

    def __init__(
        self,
        trajectories: Iterable[Trajectory],
        *,
        total: int | None = None,
        turns: int | None = None,
    ) -> None:
        """Take trajectories in any order.

        Args:
            total: Samples that were asked for, if more than there are trajectories.
            turns: Answer states of the longest trajectory of the run, if longer than any here.
        """
        self._all = tuple(trajectories)
        self.n_total = max(total or 0, len(self._all))
        self.scored = tuple(t for t in self._all if t.scored and t.correct)
        self.turns = max([turns or 0, *(len(t.correct) for t in self.scored)])

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> Graded:
        """Return the trajectories with their arrays, reusing those that are there."""
        return trajectories if isinstance(trajectories, cls) else cls(trajectories)

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Trajectory, ...]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | tuple[Trajectory, ...]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self._all)

    @property
    def n(self) -> int:
        """Scored samples."""
        return len(self.scored)

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """Cluster number of every scored sample."""
        return codes(t.question for t in self.scored)

    @cached_property
    def cluster_count(self) -> int:
        """How many clusters the scored samples fall into."""
        return int(self.clusters.max()) + 1 if self.n else 0

    @property
    def independent(self) -> bool:
        """No two scored samples belong together."""
        return self.cluster_count == self.n

    def right(self, turn: int) -> NDArray[np.bool_]:
        """Return which scored samples are right at a turn, as `state` counts turns."""
        return self.state("correct", turn)[0]

    def state(self, name: States, turn: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return a state at a turn and where it is recorded.

        Args:
            turn: From 0; negative counts from the end. An answer that was the last one stays.
        """
        values, recorded = self._states(name)
        return values[:, min(turn, self.turns - 1)], recorded

    def ever_changed(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether the answer changed at any turn, and where that is recorded."""
        import numpy as np

        values, recorded = self._states("changed")
        moved: NDArray[np.bool_] = np.logical_or.reduce(values, axis=1)
        return moved, recorded

    def cost(self, name: Costs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return a cost per scored sample and where it is recorded."""
        import numpy as np

        raw = [getattr(t, name) for t in self.scored]
        known = np.array([value is not None for value in raw], dtype=bool)
        return np.array([value or 0 for value in raw], dtype=float), known

    def _states(self, name: States) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        cached = self._arrays.get(name)
        if cached is None:
            cached = self._arrays[name] = self._build(name)
        return cached

    @cached_property
    def _arrays(self) -> dict[States, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        return {}

    def _build(self, name: States) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        import numpy as np

        rows = [getattr(t, name) for t in self.scored]
        recorded = np.array([bool(row) for row in rows], dtype=bool)
        # An answer that is carried forward keeps its state, but it does not change again.
        carried = [row[-1] if row and name != "changed" else False for row in rows]
        padded = [
            (*row, *[last] * (self.turns - len(row)))
            for row, last in zip(rows, carried, strict=True)
        ]
        return np.array(padded, dtype=bool).reshape(len(rows), self.turns), recorded


def codes(keys: Iterable[object]) -> NDArray[np.intp]:
    """Number equal keys equally, from 0 in order of appearance."""
    import numpy as np

    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)
