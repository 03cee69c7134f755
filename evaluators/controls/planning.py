"""What a method's result is held against at equal compute, planned from the result itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from evaluators.errors import BadParameter, InputError
from evaluators.evaluator import Control, Evaluator
from evaluators.metrics import Trajectory
from evaluators.model import Json, SampleResult, TaskMode
from evaluators.registry import load_evaluator

MOST_SAMPLES = 64
"""However dear a method is, no control draws more answers to a question."""

MOST_TURNS = 16
"""Nor does any control add more turns to a conversation, all of which stays in view."""

GREEDY = "single_pass"
"""The evaluator of the greedy control."""

SIZE: Mapping[str, str] = {
    "self_consistency": "samples",
    "bon_logprob": "samples",
    "best_of_n": "samples",
    "null_turn": "rounds",
    "retry": "attempts",
}
"""The parameter that says how much compute a control's evaluator uses."""

DRAWING: frozenset[Control] = frozenset({"sc_calls", "sc_tokens", "best_of_n"})
"""Controls that choose among draws of one prompt."""

TITLES: Mapping[Control, str] = {
    "greedy": "one greedy answer",
    "sc_calls": "vote at the same calls",
    "sc_tokens": "vote at the same tokens",
    "best_of_n": "best of n",
    "null_turn": "turns that say nothing",
    "retry": "retries behind the same gate",
}
"""What each control is called where a person reads it."""

RATED_CALLS = 2
"""Calls per answer where the model rates what it has drawn: the answer and its rating."""

NOTHING_SCORED = "no sample of the method was scored"
ONE_CALL = "the method makes one call, as the greedy answer does"
ONE_ANSWER = "the method makes one call of about one answer's length"
FIRST_UNKNOWN = "what one answer costs in tokens is not known"


@dataclass(frozen=True, slots=True)
class PlannedControl:
    """A control as the run of an ordinary evaluator, or why there is none."""

    kind: Control
    evaluator: str = ""
    """Name of the evaluator that it is a run of; empty where there is none."""
    params: Mapping[str, Json] = field(default_factory=dict)
    """What differs from the evaluator's defaults; its size is always said."""
    reason: str = ""
    """Why there is none; empty where there is one."""
    note: str = ""
    """What keeps its compute from matching the method's, such as a cap."""

    @property
    def label(self) -> str:
        """Name of the run: equal for equal runs, such as `self_consistency@5`; safe in paths."""
        size = self.params.get(SIZE.get(self.evaluator, ""))
        temperature = self.params.get("temperature")
        at = "" if size is None else f"@{size}"
        warm = "" if temperature is None else f"-t{temperature}"
        return f"{self.evaluator}{at}{warm}"

    @property
    def missing(self) -> bool:
        """There is no such control; the reason says why."""
        return not self.evaluator

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON from which `from_json` restores exactly this."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"params": dict(self.params)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Restore a planned control; keys of a later version are ignored."""
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})


@dataclass(frozen=True, slots=True)
class HeldAgainst:
    """One control of a method on one task, and where its results are."""

    planned: PlannedControl
    run: str = ""
    """Name of its run, which may be a method that was asked for as well; in files its folder as
    seen from the method's. Empty where there is none."""


def plan_controls(
    evaluator: Evaluator,
    trajectories: Iterable[Trajectory],
    *,
    capabilities: frozenset[str],
    mode: TaskMode,
    temperature: float = 0.0,
    drawn_at: float | None = None,
    sampled_tokens: float | None = None,
    load: Callable[[str], Evaluator] = load_evaluator,
) -> tuple[PlannedControl, ...]:
    """Plan what a method's result on one task is to be held against.

    Args:
        evaluator: The method.
        trajectories: Its finished result on the task: what it cost decides the controls' sizes.
        capabilities: What the runtime offers.
        mode: How the task is put; likelihoods have no controls.
        temperature: The task's own, of answers.
        drawn_at: Temperature of the method's first answers, if they are not at the task's. Controls
            that sample do so at it, else at the task's, so that they share the method's draws; at
            their own where both are 0.
        sampled_tokens: What one sampled answer costs, where `tokens_per_sample` could tell; else
            it is reckoned to cost as much as the method's first answer, which may be greedy.
        load: Finds evaluators by name; what it refuses is a control that is missing.
    """
    if mode == "likelihood":
        return ()
    spent = _Spent.of(trajectories)
    if sampled_tokens:
        spent = replace(spent, answer=sampled_tokens, measured=True)
    want = _Wanted(capabilities, mode, temperature, drawn_at or temperature, load)
    return tuple(_plan(kind, spent, want) for kind in evaluator.controls)


def first_temperatures(results: Iterable[SampleResult]) -> frozenset[float]:
    """Return the temperatures at which a method's first answers were drawn.

    None of solutions that were given to it.
    """
    firsts = (
        node.sampling
        for result in results
        for node in result.nodes
        if result.answers and node.idx == result.answers[0].node
    )
    return frozenset(sampling.temperature for sampling in firsts if sampling is not None)


def tokens_per_sample(control: PlannedControl, found: Iterable[Trajectory]) -> float | None:
    """Return what one answer of a finished vote, or of the greedy control, cost in tokens.

    Sampled answers may be twice as long as greedy ones, so a vote that is to cost what a method
    cost is best sized by another vote; a method of one long call has the greedy control alone.
    """
    tokens = _mean([t.tokens_out for t in found if t.scored])
    size = control.params.get(SIZE.get(control.evaluator, ""), 1)
    return tokens / size if tokens and isinstance(size, int) else None


@dataclass(frozen=True, slots=True)
class _Spent:
    """What the method spent per scored sample, on average."""

    calls: float | None
    tokens: float | None
    answer: float | None
    """Generated tokens of one sampled answer, or of the first one."""
    most: int
    """Calls of the dearest sample."""
    measured: bool = False
    """The tokens of one answer are another run's, not those of the method's first."""

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory]) -> Self:
        scored = [t for t in trajectories if t.scored]
        names = ("calls", "tokens_out", "tokens_first")
        calls, tokens, first = (_mean([getattr(t, name) for t in scored]) for name in names)
        return cls(calls, tokens, first, max((t.calls or 0 for t in scored), default=0))

    @property
    def rounded(self) -> int:
        return math.floor((self.calls or 0) + 0.5)


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a control has to get along with."""

    capabilities: frozenset[str]
    mode: TaskMode
    temperature: float
    """The task's own."""
    drawn_at: float
    """Where controls that sample do so; 0 leaves it to them."""
    load: Callable[[str], Evaluator]


def _plan(kind: Control, spent: _Spent, want: _Wanted) -> PlannedControl:
    if spent.calls is None:
        return PlannedControl(kind, reason=NOTHING_SCORED)
    if kind == "greedy":
        params = {"temperature": 0.0} if want.temperature else {}
        return _checked(PlannedControl(kind, GREEDY, params), want)
    if kind == "sc_tokens" and spent.measured:
        return _same_tokens(spent, want)
    if (spent.most if kind == "retry" else spent.rounded) < 2:
        return PlannedControl(kind, reason=ONE_CALL)
    return _AT_EQUAL_COMPUTE[kind](spent, want)


def _same_calls(spent: _Spent, want: _Wanted) -> PlannedControl:
    return _sized("sc_calls", "self_consistency", spent.rounded, want)


def _same_tokens(spent: _Spent, want: _Wanted) -> PlannedControl:
    """Vote over as many samples as make up the method's tokens."""
    if not spent.tokens or not spent.answer:
        return PlannedControl("sc_tokens", reason=FIRST_UNKNOWN)
    size = math.floor(spent.tokens / spent.answer + 0.5)
    if spent.rounded < 2 and size < 2:
        return PlannedControl("sc_tokens", reason=ONE_ANSWER)
    return _sized("sc_tokens", "self_consistency", max(2, size), want)


def _best_of(spent: _Spent, want: _Wanted) -> PlannedControl:
    """Choose by log-probability where the runtime tells it, else by the model's own rating."""
    calls = spent.rounded
    by_logprob = _sized("best_of_n", "bon_logprob", calls, want)
    if not by_logprob.missing:
        return by_logprob
    size = calls // RATED_CALLS
    if size < 2:
        reason = f"to rate two answers takes {2 * RATED_CALLS} calls, the method makes {calls}"
        return replace(by_logprob, reason=f"{by_logprob.reason}; {reason}")
    rated = _sized("best_of_n", "best_of_n", size, want)
    return by_logprob if rated.missing else rated


def _null_turn(spent: _Spent, want: _Wanted) -> PlannedControl:
    return _sized("null_turn", "null_turn", spent.rounded - 1, want)


def _retry(spent: _Spent, want: _Wanted) -> PlannedControl:
    """Allow as many calls as the dearest sample took: behind the gate both stop when right."""
    return _sized("retry", "retry", spent.most - 1, want)


_AT_EQUAL_COMPUTE: Mapping[Control, Callable[[_Spent, _Wanted], PlannedControl]] = {
    "sc_calls": _same_calls,
    "sc_tokens": _same_tokens,
    "best_of_n": _best_of,
    "null_turn": _null_turn,
    "retry": _retry,
}


def _sized(kind: Control, evaluator: str, size: int, want: _Wanted) -> PlannedControl:
    """Plan a run of that size, or of the greatest that is allowed."""
    name = SIZE[evaluator]
    most = MOST_TURNS if kind in {"null_turn", "retry"} else MOST_SAMPLES
    return _checked(PlannedControl(kind, evaluator, {name: size}), want, most=most)


def _checked(planned: PlannedControl, want: _Wanted, *, most: int | None = None) -> PlannedControl:
    """Say why a planned control cannot run: not installed, or in want of something."""
    try:
        evaluator = want.load(planned.evaluator)
        capped = _drawn(_capped(planned, evaluator, most), evaluator, want)
        evaluator.bind(capped.params)
    except BadParameter as error:
        return _none(planned, f"{planned.evaluator}: {error.data['reason']}")
    except InputError as error:
        return _none(planned, str(error).rstrip("."))
    lacking = sorted(evaluator.requires - want.capabilities)
    if lacking:
        needs = ", ".join(lacking)
        return _none(planned, f"the runtime lacks {needs}, which {planned.evaluator} needs")
    if want.mode not in evaluator.modes:
        return _none(planned, f"{planned.evaluator} does not work on tasks put as {want.mode}")
    return capped


def _none(planned: PlannedControl, reason: str) -> PlannedControl:
    return PlannedControl(planned.kind, reason=reason)


def _drawn(planned: PlannedControl, evaluator: Evaluator, want: _Wanted) -> PlannedControl:
    """Return the control at the temperature that it draws at, said where it is not its own."""
    own = evaluator.schema()["properties"].get("temperature", {}).get("default")
    if planned.kind not in DRAWING or want.drawn_at in {0.0, own}:
        return planned
    return replace(planned, params={**planned.params, "temperature": want.drawn_at})


def _capped(planned: PlannedControl, evaluator: Evaluator, most: int | None) -> PlannedControl:
    """Return the control at no more than its evaluator, or we, allow."""
    name = SIZE.get(planned.evaluator, "")
    size = planned.params.get(name)
    if not isinstance(size, int):
        return planned
    allowed = evaluator.schema()["properties"].get(name, {}).get("maximum", size)
    limit = min(size, allowed, *([] if most is None else [most]))
    if limit == size:
        return planned
    note = f"{limit} {name} where equal compute asks for {size}"
    return replace(planned, params={**planned.params, name: limit}, note=note)
