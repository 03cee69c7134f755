"""How many calls a method makes at most, as its own docstring says, and its controls by that."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

from evaluators.controls.planning import MOST_SAMPLES, MOST_TURNS, RATED_CALLS
from evaluators.evaluator import Control, Evaluator

_CALLS = re.compile(r"\bCalls:\s*(?P<said>[^.]+)")
_OR_MORE = re.compile(r"\b(?:or|and) (\d+)\b")
_UNSAID = re.compile(r"\bmore\b")
"""Words for calls on top of the formula: how many at most stays unsaid."""

_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def calls_at_most(evaluator: Evaluator, params: Mapping[str, object]) -> int | None:
    """Return how many calls the method makes per sample, or None where that is not knowable.

    Evaluators say it in their docstring: "Calls: at most 1 + 2 * rounds." or "Calls: 2, or 4 where
    the answer is refined."
    """
    found = _CALLS.search(f"{evaluator.summary}\n{evaluator.description}")
    if found is None or _UNSAID.search(found["said"]):
        return None
    formula, *rest = re.split("[,;]", " ".join(found["said"].replace("`", "").split()))
    formula = formula.removeprefix("at most ").removesuffix(" at most").strip()
    others = [int(number) for part in rest for number in _OR_MORE.findall(part)]
    try:
        return max([_value(ast.parse(formula, mode="eval").body, params), *others])
    except (SyntaxError, ValueError):
        return None


def controls_at_most(evaluator: Evaluator, calls: int) -> tuple[int, int]:
    """Return the calls per sample of a method's controls, at most: of the vote for its tokens last.

    As many as are made where none of them finds its draws made: the greedy answer and the votes
    share theirs with one another and often with the method.

    Args:
        evaluator: The method.
        calls: What it makes itself at most, as `calls_at_most` tells.
    """
    each: Mapping[Control, int] = {
        "sc_calls": min(calls, MOST_SAMPLES),
        "best_of_n": min(calls, RATED_CALLS * MOST_SAMPLES),
        "null_turn": min(calls, 1 + MOST_TURNS),
        "retry": min(calls, 1 + MOST_TURNS),
    }
    kinds = evaluator.controls
    sized = sum(each.get(kind, 0) for kind in kinds) if calls > 1 else 0
    return ("greedy" in kinds) + sized, MOST_SAMPLES if "sc_tokens" in kinds else 0


def _value(node: ast.expr, params: Mapping[str, object]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if isinstance(value := params.get(name), int):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, params), _value(right, params))
    msg = f"cannot count {ast.unparse(node)}"
    raise ValueError(msg)
