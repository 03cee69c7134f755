"""Labels of steps, counted: every step's counts add up to the samples."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evaluators.metrics import Trajectory, count_steps, decompose


def test_counts_every_label_where_it_stands() -> None:
    found = count_steps([
        Trajectory("a", (True, True, False), changed=(False, False, True)),
        Trajectory("b", (False, False, True), changed=(False, False, True)),
        Trajectory("c", (False, False), changed=(False, True)),
        Trajectory("d", (False, False)),
        Trajectory("e", (False, True), scored=False),
        Trajectory("f", (True,)),
    ])  # fmt: skip
    nothing = {"kept": 0, "spoilt": 0, "fixed": 0, "stuck": 0, "wandered": 0, "unknown": 0}
    assert found == [
        nothing | {"kept": 1, "stuck": 1, "wandered": 1, "unknown": 1, "stopped": 1},
        nothing | {"spoilt": 1, "fixed": 1, "stopped": 3},
    ]


def test_one_answer_makes_no_step() -> None:
    assert count_steps([Trajectory("a", (True,))]) == count_steps([]) == []


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=8))
def test_flips_are_those_of_the_decomposition(rows: list[list[bool]]) -> None:
    trajectories = [
        Trajectory(
            str(i),
            tuple(row),
            changed=(False, *(a != b for a, b in pairwise(row))),
        )
        for i, row in enumerate(rows)
    ]
    steps = decompose(trajectories).steps
    counts = count_steps(trajectories)
    assert [(c["spoilt"], c["fixed"]) for c in counts] == [(s.ci, s.ic) for s in steps]
    assert {sum(c.values()) for c in counts} <= {len(rows)}
