"""What to try next when a model does not fit into memory: at most three rungs, each recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.errors import OutOfResources
from evaluators.model import Json

HALVED = "max_num_seqs"
LOWERED = "max_model_len"

LEAST_SEQUENCES = 1


@dataclass(frozen=True, slots=True)
class Rung:
    """One change of the arguments, and why it was made."""

    argument: str
    before: int
    after: int
    reason: str
    """What the engine said."""

    def to_json(self) -> Mapping[str, Json]:
        """Return the rung as results keep it."""
        return {
            "argument": self.argument,
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
        }


def next_rung(
    args: Mapping[str, Json],
    error: OutOfResources,
    *,
    needed_tokens: int | None,
    taken: tuple[Rung, ...] = (),
) -> Rung | None:
    """Return the next change to try, or None when the model has to be given up.

    First half the sequences at a time, where it is they that did not fit; then a context no longer
    than the tasks need. The third rung is to fail, with the numbers.

    Args:
        args: The engine's arguments in force, `max_num_seqs` and `max_model_len` among them.
        error: What did not fit.
        needed_tokens: Most tokens that a prompt and its completion will have; None when unknown.
        taken: The rungs that were tried before.
    """
    if any(rung.argument == LOWERED for rung in taken):
        return None
    reason = str(error.data.get("reason", ""))
    # A cache too small for one sequence is no larger with fewer of them.
    if not taken and error.data.get("kind") == "device_memory":
        before = _number(args.get(HALVED))
        if before is not None and before > LEAST_SEQUENCES:
            return Rung(HALVED, before, before // 2, reason)
    before = _number(args.get(LOWERED))
    after = _context(error, needed_tokens)
    if before is None or after is None or after >= before:
        return None
    return Rung(LOWERED, before, after, reason)


def _context(error: OutOfResources, needed_tokens: int | None) -> int | None:
    """Return what to lower the context to: what is needed, or else what the engine says fits."""
    fits = _number(error.data.get("most_tokens"))
    if needed_tokens is None:
        return fits
    return needed_tokens if fits is None or needed_tokens <= fits else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
