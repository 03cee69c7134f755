"""What must hold whatever the data: identities, symmetries and the null rule."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.metrics import Decomposition, Estimate, Trajectory, decompose, macro

pytestmark = pytest.mark.filterwarnings("error")

COSTS = st.none() | st.integers(0, 10_000)


@st.composite
def trajectory(draw: st.DrawFn, index: int, turns: int) -> Trajectory:
    length = draw(st.integers(1, turns))
    states = st.lists(st.booleans(), min_size=length, max_size=length).map(tuple)
    changed = draw(st.just(()) | states)
    return Trajectory(
        id=str(index),
        correct=draw(states),
        cluster=draw(st.sampled_from(["", "", "a", "b", "c"])),
        parsed=draw(st.just(()) | states),
        truncated=draw(st.just(()) | states),
        changed=(False, *changed[1:]) if changed else (),
        calls=draw(COSTS),
        tokens_in=draw(COSTS),
        tokens_out=draw(COSTS),
        tokens_computed=draw(COSTS),
        tokens_first=draw(COSTS),
        scored=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def results(draw: st.DrawFn, *, turns: int = 3) -> list[Trajectory]:
    count = draw(st.integers(0, 12))
    return [draw(trajectory(index, turns)) for index in range(count)]


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def trajectories(answers: Sequence[tuple[bool, ...]], *, clusters: int = 0) -> list[Trajectory]:
    return [
        Trajectory(str(i), answer, cluster=f"q{i % clusters}" if clusters else "")
        for i, answer in enumerate(answers)
    ]


def values(found: Decomposition) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in found.estimates.items()}


def exact(estimate: Estimate) -> Fraction:
    assert estimate.numerator is not None
    assert estimate.denominator is not None
    return Fraction(int(estimate.numerator), int(estimate.denominator))


@settings(max_examples=60, deadline=None)
@given(results())
def test_every_number_is_finite_or_null_with_a_reason(found: list[Trajectory]) -> None:
    decomposition = decompose(found)
    for name, estimate in decomposition.estimates.items():
        if estimate.value is None:
            assert estimate.reason, name
            assert estimate.low is estimate.high is None, name
            continue
        assert math.isfinite(estimate.value), name
        assert (estimate.low is None) == (estimate.high is None), name
        if estimate.low is None or estimate.high is None:
            assert estimate.reason or estimate.method == "count", name
            continue
        assert estimate.low <= estimate.value <= estimate.high, name
        assert estimate.n <= estimate.n_total, name
    json.dumps(decomposition.to_json(), allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(results())
def test_estimates_survive_json(found: list[Trajectory]) -> None:
    for estimate in decompose(found).estimates.values():
        text = json.dumps(estimate.to_json(), allow_nan=False)
        assert Estimate.from_json(json.loads(text)) == estimate


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_identities_hold_exactly_on_counts(answers: list[tuple[bool, bool]]) -> None:
    found = decompose(trajectories(answers))
    acc1, acc2 = exact(found["acc@1"]), exact(found["acc@last"])
    assert acc2 == acc1 + exact(found["i2c_all"]) - exact(found["c2i_all"])
    kept = acc1 * exact(found["CL"]) if acc1 else 0
    fixed = (1 - acc1) * exact(found["CS"]) if acc1 < 1 else 0
    assert acc2 == kept + fixed
    assert exact(found["i2c_all"]) == fixed
    assert exact(found["c2i_all"]) == acc1 - kept
    if 0 < acc1 < 1:
        rss = exact(found["RSS"])
        assert rss == (acc2 - acc1**2) / (2 * acc1 * (1 - acc1))
        assert (rss > Fraction(1, 2)) == (acc2 > acc1)
        assert (rss == Fraction(1, 2)) == (acc2 == acc1)
        better = acc2 > acc1
        if found["break_even"].value is not None:
            assert (exact(found["break_even"]) > acc1) == better


@settings(max_examples=25, deadline=None)
@given(pairs)
def test_swapping_the_turns_negates_delta(answers: list[tuple[bool, bool]]) -> None:
    found = decompose(trajectories(answers))
    swapped = decompose(trajectories([(after, before) for before, after in answers]))
    assert swapped["delta"].value == -(found["delta"].value or 0.0)
    assert found["delta"].low is not None
    assert swapped["delta"].high == pytest.approx(-found["delta"].low, abs=1e-12)
    assert swapped["n_ic"].value == found["n_ci"].value
    assert swapped["n_ci"].value == found["n_ic"].value
    assert swapped.significance == found.significance


@settings(max_examples=25, deadline=None)
@given(pairs)
def test_doubling_the_items_leaves_rates_alone(answers: list[tuple[bool, bool]]) -> None:
    once = decompose(trajectories(answers))
    new = decompose(trajectories([*answers, *answers]))
    same = decompose(trajectories([*answers, *answers], clusters=len(answers)))
    counts = {"n_cc", "n_ci", "n_ic", "n_ii"}
    for name, value in values(once).items():
        if name not in counts:
            assert values(new)[name] == value, name
            assert values(same)[name] == value, name


@settings(max_examples=25, deadline=None)
@given(pairs.filter(lambda answers: len({b - a for a, b in answers}) > 1))
def test_copies_narrow_the_interval_only_as_new_clusters(
    answers: list[tuple[bool, bool]],
) -> None:
    once = decompose(trajectories(answers))["delta"]
    new = decompose(trajectories([*answers, *answers]))["delta"]
    same = decompose(trajectories([*answers, *answers], clusters=len(answers)))["delta"]
    assert once.se is not None
    assert new.se == pytest.approx(once.se / math.sqrt(2))
    n = len(answers)
    assert same.se == pytest.approx(once.se * math.sqrt(n / (n - 1)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_an_unchanged_answer_keeps_all_and_fixes_none(first: list[bool]) -> None:
    found = decompose(trajectories([(right, right) for right in first]))
    assert found["delta"].value == 0
    assert found["CL"].value == (1 if any(first) else None)
    assert found["CS"].value == (None if all(first) else 0)
    assert found["RSS"].value == (None if all(first) or not any(first) else 0.5)
    assert found.significance.p == 1
    low, high = found["delta"].low, found["delta"].high
    assert low is not None
    assert high is not None
    assert low < 0 < high, "nothing seen to change is not proof that nothing changes"


@settings(max_examples=25, deadline=None)
@given(pairs)
def test_gating_by_gold_spoils_nothing(answers: list[tuple[bool, bool]]) -> None:
    gated = [(first, first or second) for first, second in answers]
    found = decompose(trajectories(gated))
    assert found["CL"].value == (1 if any(first for first, _ in gated) else None)
    assert found["n_ci"].value == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_an_always_wrong_second_turn(first: list[bool]) -> None:
    found = decompose(trajectories([(right, False) for right in first]))
    acc1 = Fraction(sum(first), len(first))
    assert found["acc@last"].value == 0
    assert found["CL"].value == (0 if acc1 else None)
    assert found["CS"].value == (0 if acc1 < 1 else None)
    if 0 < acc1 < 1:
        assert exact(found["RSS"]) == -acc1 / (2 * (1 - acc1))


@settings(max_examples=25, deadline=None)
@given(results(), st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(found: list[Trajectory], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    a, b = decompose(found).to_json(), decompose(shuffled).to_json()
    rounded = json.loads(json.dumps([a, b]), parse_float=lambda text: round(float(text), 9))
    assert rounded[0] == rounded[1]


@settings(max_examples=25, deadline=None)
@given(pairs, st.integers(3, 5))
def test_an_early_stop_carries_its_answer_forward(
    answers: list[tuple[bool, bool]], turns: int
) -> None:
    found = decompose(trajectories(answers), turns=turns)
    plain = decompose(trajectories(answers))
    assert found.turns == turns
    for name in ("acc@1", "acc@last", "delta", "CL", "CS", "RSS"):
        assert found[name] == plain[name]
    for turn in range(2, turns + 1):
        assert found[f"acc@{turn}"].value == plain["acc@last"].value
        assert found[f"CL@{turn}"].value == plain["CL"].value


@settings(max_examples=25, deadline=None)
@given(results(turns=2), st.integers(0, 5))
def test_unscored_samples_count_in_the_total_only(found: list[Trajectory], extra: int) -> None:
    lost = [Trajectory(f"lost{i}", (), scored=False) for i in range(extra)]
    with_lost, without = decompose([*found, *lost]), decompose(found)
    assert with_lost.n == without.n
    assert with_lost.n_total == without.n_total + extra
    for name in ("acc@1", "acc@last", "delta", "CL", "CS", "RSS"):
        assert with_lost[name].value == without[name].value
    assert decompose(found, total=len(found) + extra)["unscored"] == with_lost["unscored"]


@settings(max_examples=25, deadline=None)
@given(st.lists(results(turns=2), min_size=1, max_size=3))
def test_macro_lies_between_its_tasks(tasks: list[list[Trajectory]]) -> None:
    found = [
        decompose(
            [replace(t, task=f"t{number}") for t in task]
            or [Trajectory("x", (), f"t{number}", scored=False)]
        )
        for number, task in enumerate(tasks)
    ]
    for name, estimate in macro(found).items():
        known = [d[name].value for d in found if name in d.estimates and d[name].value is not None]
        if not known:
            assert estimate.value is None
            assert estimate.reason
            continue
        assert estimate.value is not None
        low, high = min(v for v in known if v is not None), max(v for v in known if v is not None)
        assert low - 1e-9 <= estimate.value <= high + 1e-9
        assert bool(estimate.reason) == (len(known) < len(found))
