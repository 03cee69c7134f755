"""What is tried when memory is short."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import OutOfResources
from evaluators.runtimes.ladder import Rung, next_rung

ARGS = {"max_num_seqs": 256, "max_model_len": 8192}
HALVED = Rung("max_num_seqs", 256, 128, "")
LOWERED = Rung("max_model_len", 8192, 2048, "")


def short(kind: str, **numbers: Any) -> OutOfResources:
    return OutOfResources(model="m", reason="", kind=kind, **numbers)


@pytest.mark.parametrize(
    ("error", "needed", "taken", "expected"),
    [
        (short("device_memory"), 2048, (), HALVED),
        (short("device_memory"), 2048, (HALVED,), LOWERED),
        (short("device_memory"), 2048, (HALVED, LOWERED), None),
        (short("device_memory"), None, (HALVED,), None),
        (short("kv_cache", most_tokens=5376), 2048, (), LOWERED),
        (short("kv_cache", most_tokens=2048), None, (), LOWERED),
        (short("kv_cache", most_tokens=1000), 2048, (), None),
        (short("kv_cache", most_tokens=None), 2048, (), LOWERED),
        (short("kv_cache", most_tokens=None), None, (), None),
        (short("kv_cache", most_tokens=5376), 2048, (LOWERED,), None),
        (short("device_memory"), 9000, (HALVED,), None),
    ],
    ids=[
        "first the rows at a time", "then the context", "then no more", "no context is known",
        "a cache is no larger with fewer rows", "as long as fits", "less fits than is needed",
        "nobody knows what fits", "nobody knows anything", "once only", "more than there is",
    ],
)  # fmt: skip
def test_rungs(
    error: OutOfResources, needed: int | None, taken: tuple[Rung, ...], expected: Rung | None
) -> None:
    assert next_rung(ARGS, error, needed_tokens=needed, taken=taken) == expected


@given(
    rows=st.integers(1, 4096),
    window=st.one_of(st.none(), st.integers(1, 10**6)),
    needed=st.one_of(st.none(), st.integers(1, 10**6)),
    kinds=st.lists(st.sampled_from(["device_memory", "kv_cache"]), min_size=4, max_size=4),
    most=st.one_of(st.none(), st.integers(1, 10**6)),
)
def test_it_has_an_end_and_only_leads_down(
    rows: int, window: int | None, needed: int | None, kinds: list[str], most: int | None
) -> None:
    args = {"max_num_seqs": rows, "max_model_len": window}
    taken: tuple[Rung, ...] = ()
    for kind in kinds:
        rung = next_rung(args, short(kind, most_tokens=most), needed_tokens=needed, taken=taken)
        if rung is None:
            break
        assert 1 <= rung.after < rung.before == args[rung.argument]
        assert rung.argument != "max_model_len" or needed is None or rung.after >= needed
        taken = (*taken, rung)
        args[rung.argument] = rung.after
    assert len(taken) <= 2
