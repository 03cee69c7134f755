"""The end of a run whose shards are all done: count, judge, seal."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count

from leaderboard.catalog.models import LanguageModel
from leaderboard.runs.errors import Failure
from leaderboard.runs.models import Attempt, Run, SampleResult, Shard, State
from leaderboard.runs.services.history import change_run
from leaderboard.runs.tuning import tuning

FORMAT = "redraft-run/1"
"""Names the manifest's shape; another shape gets another name."""

_OK = SampleResult.Status.OK


@dataclass(slots=True)
class Tally:
    """What the rows of one task add up to."""

    n: int = 0
    """Scored samples."""
    n_total: int = 0
    flips: Counter[str] = field(default_factory=Counter)
    hashes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return counts, transitions and the hash over all rows in order."""
        flips = {name: self.flips[name] for name in SampleResult.Flip.values}
        rows = hashlib.sha256("".join(self.hashes).encode()).hexdigest()
        return {"n": self.n, "n_total": self.n_total, "flips": flips, "rows_sha256": rows}


def conclude(run: Run, *, actor: str) -> None:
    """Complete a locked run whose shards are all done, or say why it shows no score."""
    tallies = tally(run)
    failure = _verdict(run, tallies.values())
    oracle = run.oracle or SampleResult.objects.filter(run=run, oracle=True).exists()
    if failure is not None:
        change_run(run, State.FAILED, actor=actor, failure=failure, oracle=oracle)
        return
    manifest = build_manifest(run, tallies)
    change_run(
        run,
        State.COMPLETED,
        actor=actor,
        oracle=oracle,
        manifest=manifest,
        manifest_sha256=seal(manifest),
    )


def seal(manifest: object) -> str:
    """Return the sha256 of a manifest in canonical JSON."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def tally(run: Run) -> dict[str, Tally]:
    """Add up the stored rows of a run, by task."""
    rows = SampleResult.objects.filter(run=run).order_by("task", "position", "replicate")
    tallies: dict[str, Tally] = defaultdict(Tally)
    for task, status, flip, row_hash in rows.values_list("task", "status", "flip", "row_hash"):
        found = tallies[task]
        found.n_total += 1
        found.n += status == _OK
        found.flips[flip] += 1
        found.hashes.append(row_hash)
    return dict(tallies)


def _verdict(run: Run, tallies: Iterable[Tally]) -> Failure | None:
    """Return why the run may not be scored, or None."""
    counts = [(found.n, found.n_total) for found in tallies]
    scored, total = sum(n for n, _ in counts), sum(n for _, n in counts)
    if not scored:
        return Failure("run:app:nothing-scored", _commonest(run))
    share = (total - scored) / total
    if share > tuning().max_unscored:
        detail = (
            f"{total - scored} of {total} samples ({share:.1%}) have no score; {_commonest(run)}"
        )
        return Failure("run:app:too-many-unscored", detail)
    return None


def _commonest(run: Run) -> str:
    """Name the reason that most unscored samples share."""
    reasons = (
        SampleResult.objects.filter(run=run)
        .exclude(status=_OK)
        .values("failure_id")
        .annotate(n=Count("id"))
        .order_by("-n", "failure_id")
    )
    found = reasons.first()
    if found is None:
        return "there are no samples"
    row = SampleResult.objects.filter(run=run, failure_id=found["failure_id"]).first()
    last = (row.failure_detail.strip().splitlines() or [""])[-1] if row else ""
    return f"most often {found['failure_id']}: {last}"[:500]


def build_manifest(run: Run, tallies: dict[str, Tally]) -> dict[str, Any]:
    """Put down everything that the results of a run rest on."""
    evaluator, suite = run.evaluator, run.suite
    facts = [found for found in run.shards.values_list("facts", flat=True) if found]
    return {
        "format": FORMAT,
        "run": run.public_id,
        "retry_of": run.retry_of.public_id if run.retry_of else None,
        "limit": run.limit,
        "seed": run.seed,
        "replicates": run.replicates,
        "model": _model(run.model),
        "critic": _model(run.critic_model) if run.critic_model else None,
        **({"judge": _model(run.judge_model)} if run.judge_model else {}),
        "evaluator": {
            "name": evaluator.name,
            "distribution": evaluator.distribution,
            "version": evaluator.version,
            "digest": evaluator.digest,
            "information": evaluator.information,
            "params": run.params,
        },
        **({"prompts": run.prompt_pack} if run.pack else {}),
        "suite": {"name": suite.name, "version": suite.version, "digest": suite.digest},
        "tasks": {found["task"]["name"]: found["task"] for found in facts if "task" in found},
        "runtime": _distinct(found.get("runtime") for found in facts),
        "critic_runtime": _distinct(found.get("critic") for found in facts),
        **({"judge_runtime": _distinct(f.get("judge") for f in facts)} if run.judge_model else {}),
        "server": _distinct(found.get("server") for found in facts),
        "attempts": _attempts(run),
        "results": {
            "n": sum(found.n for found in tallies.values()),
            "n_total": sum(found.n_total for found in tallies.values()),
            "tasks": {task: found.to_json() for task, found in sorted(tallies.items())},
        },
    }


def _model(model: LanguageModel) -> dict[str, Any]:
    return {
        "label": model.label,
        "source": model.source,
        "location": model.location,
        "revision": model.revision,
        "runtime": model.runtime,
        "class": model.model_class,
        "args": model.args,
        "batch_size": model.batch_size,
        "engine_key": model.engine_key,
    }


def _distinct(found: Iterable[Any]) -> list[Any]:
    """Return what shards worked with, once each; more than one entry is worth a look."""
    by_text = {json.dumps(entry, sort_keys=True): entry for entry in found if entry}
    return [by_text[text] for text in sorted(by_text)]


def _attempts(run: Run) -> dict[str, Any]:
    attempts = Attempt.objects.filter(shard__run=run)
    outcomes = Counter(attempts.values_list("outcome", flat=True))
    open_ones = outcomes.pop("", 0)  # the one that is ending right now
    outcomes["completed"] += open_ones
    isolation = sorted(set(attempts.values_list("isolation", flat=True)) - {""})
    shards = Shard.objects.filter(run=run).count()
    rungs = _distinct(rung for taken in attempts.values_list("rungs", flat=True) for rung in taken)
    return {
        "shards": shards,
        "outcomes": dict(sorted(outcomes.items())),
        "isolation": isolation,
        "memory_ladder": rungs,
    }
