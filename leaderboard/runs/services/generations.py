"""Completions by key, shared by all runs: the first that was stored is the one that counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from evaluators.formats.results import clean_text
from evaluators.model import Completion, Usage
from leaderboard.runs.models import Generation


@dataclass(frozen=True, slots=True)
class Made:
    """A completion on its way into the table."""

    fingerprint: str
    """Identity of the model that wrote it."""
    completion: Completion


def storable_completion(completion: Completion) -> Completion:
    """Return the completion as it will be read back; the very same object if nothing changes."""
    text = clean_text(completion.text)
    if text == completion.text:
        return completion
    return Completion(text, completion.finish_reason, completion.usage, seconds=completion.seconds)


def find_generations(keys: Collection[str]) -> dict[str, Completion]:
    """Return the stored completions among the keys."""
    rows = Generation.objects.filter(key__in=keys)
    return {row.key: _completion(row) for row in rows}


def keep_generations(made: Mapping[str, Made]) -> dict[str, Completion]:
    """Store completions unless there are some; return those that others had stored before."""
    Generation.objects.bulk_create(
        [_row(key, entry) for key, entry in sorted(made.items())], ignore_conflicts=True
    )
    stored = find_generations(made.keys())
    return {key: kept for key, kept in stored.items() if not _same(kept, made[key].completion)}


def _same(left: Completion, right: Completion) -> bool:
    return (left.text, left.finish_reason, left.usage) == (
        right.text,
        right.finish_reason,
        right.usage,
    )


def _row(key: str, made: Made) -> Generation:
    completion = made.completion
    return Generation(
        key=key,
        fingerprint=made.fingerprint,
        text=completion.text,
        finish_reason=completion.finish_reason,
        tokens_in=completion.usage.prompt_tokens,
        tokens_out=completion.usage.completion_tokens,
    )


def _completion(row: Generation) -> Completion:
    return Completion(
        text=row.text,
        finish_reason=row.finish_reason,  # type: ignore[arg-type] # stored from this very literal
        usage=Usage(row.tokens_in, row.tokens_out),
    )
