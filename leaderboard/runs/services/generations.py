"""Answers of runtimes by key, shared by all runs: the first that was stored counts."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluators.formats.results import clean_text
from evaluators.model import (
    Answered,
    ChoiceLikelihood,
    Completion,
    Likelihoods,
    TokenLogprob,
    Usage,
)
from leaderboard.runs.models import Generation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """An answer on its way into the table."""

    fingerprint: str
    """Identity of the model that gave it."""
    answered: Answered


def storable_answer(answered: Answered) -> Answered:
    """Return the answer as it will be read back; the very same object if nothing changes."""
    if isinstance(answered, Likelihoods):
        choices = tuple(replace(c, text=clean_text(c.text)) for c in answered.choices)
        clean: Answered = replace(answered, choices=choices)
    else:
        logprobs = tuple(_clean_token(token) for token in answered.logprobs)
        clean = replace(answered, text=clean_text(answered.text), logprobs=logprobs)
    return answered if clean == answered else clean


def find_generations(keys: Collection[str], *, fingerprint: str) -> dict[str, Answered]:
    """Return the stored answers of one model among the keys.

    A row that is not what was stored, or another model's, is dropped: it is made anew.
    """
    rows = Generation.objects.filter(key__in=keys)
    found, unfit = dict[str, Answered](), list[str]()
    for row in rows:
        answered = _read(row)
        if answered is None or row.fingerprint != fingerprint:
            unfit.append(row.key)
        else:
            found[row.key] = answered
    if unfit:
        log.warning("%d stored answers do not fit their digest or model: %s", len(unfit), unfit)
        Generation.objects.filter(key__in=unfit).delete()
    return found


def keep_generations(made: Mapping[str, Made]) -> dict[str, Answered]:
    """Store one model's answers unless there are some; return those that were there before."""
    stored = dict[str, Answered]()
    for fingerprint in {entry.fingerprint for entry in made.values()}:
        ours = {key: entry for key, entry in made.items() if entry.fingerprint == fingerprint}
        _insert(ours)
        kept = find_generations(ours.keys(), fingerprint=fingerprint)
        if dropped := ours.keys() - kept.keys():
            _insert({key: ours[key] for key in dropped})
            kept |= find_generations(dropped, fingerprint=fingerprint)
        stored |= kept
    return {key: kept for key, kept in stored.items() if not _same(kept, made[key].answered)}


def _insert(made: Mapping[str, Made]) -> None:
    Generation.objects.bulk_create(
        [_row(key, entry) for key, entry in sorted(made.items())], ignore_conflicts=True
    )


def _same(left: Answered, right: Answered) -> bool:
    return replace(left, cached=False, seconds=0.0) == replace(right, cached=False, seconds=0.0)


def _clean_token(token: TokenLogprob) -> TokenLogprob:
    top = tuple((clean_text(text), logprob) for text, logprob in token.top)
    return TokenLogprob(clean_text(token.token), token.logprob, top)


def _row(key: str, made: Made) -> Generation:
    answered = made.answered
    row = Generation(
        key=key,
        fingerprint=made.fingerprint,
        tokens_in=answered.usage.prompt_tokens,
        tokens_out=answered.usage.completion_tokens,
    )
    if isinstance(answered, Likelihoods):
        row.choices = [[c.text, c.logprob, c.tokens, c.greedy] for c in answered.choices]
    else:
        row.text, row.finish_reason = answered.text, answered.finish_reason
        row.logprobs = [
            [t.token, t.logprob, [list(pair) for pair in t.top]] for t in answered.logprobs
        ]
    row.digest = _digest(row, answered)
    return row


def _read(row: Generation) -> Answered | None:
    """Return what a row says, or None when that is not what was stored."""
    try:
        answered = _answered(row)
    except (TypeError, ValueError):
        return None
    return answered if _digest(row, answered) == row.digest else None


def _answered(row: Generation) -> Answered:
    usage = Usage(row.tokens_in, row.tokens_out)
    if row.choices is not None:
        choices = (
            ChoiceLikelihood(text, float(logprob), tokens, greedy)
            for text, logprob, tokens, greedy in row.choices
        )
        return Likelihoods(tuple(choices), usage)
    return Completion(
        text=row.text,
        finish_reason=row.finish_reason,  # type: ignore[arg-type] # stored from this very literal
        usage=usage,
        logprobs=tuple(_token(entry) for entry in row.logprobs),
    )


def _token(entry: Sequence[Any]) -> TokenLogprob:
    token, logprob, top = entry
    return TokenLogprob(token, float(logprob), tuple((text, float(value)) for text, value in top))


def _digest(row: Generation, answered: Answered) -> str:
    """Return the sha256 of key, model and answer, numbers as they are read back."""
    parts: list[object] = [row.key, row.fingerprint, row.tokens_in, row.tokens_out]
    if isinstance(answered, Likelihoods):
        parts += [[c.text, c.logprob + 0.0, c.tokens, c.greedy] for c in answered.choices]
    else:
        parts += [answered.text, answered.finish_reason]
        parts += [
            [t.token, t.logprob + 0.0, [[text, value + 0.0] for text, value in t.top]]
            for t in answered.logprobs
        ]
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
