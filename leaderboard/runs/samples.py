"""Lists of a run's samples: filters, a stable order, keyset pages, neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Left
from django.http import QueryDict

from leaderboard.core.listing import choice, number
from leaderboard.runs.models import Run, SampleResult

PAGE = 50
FLAGS = {
    "changed": Q(changed=True),
    "truncated": Q(truncated=True),
    "unparsed": Q(parsed=False, status="ok"),
    "unscored": ~Q(status="ok"),
}
FLIPS = dict(SampleResult.Flip.choices)
LISTED = (
    "run_id", "task", "position", "replicate", "sample_id", "status", "flip", "changed",
    "truncated", "parsed", "calls", "tokens_in", "tokens_out", "row_hash",
)  # fmt: skip
"""What a list shows; transcripts and long questions stay in the database."""
ORDER = ("task", "position", "replicate", "id")


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Which samples of a run a reader wants to see."""

    task: str = ""
    flip: str = ""
    flag: str = ""

    @classmethod
    def from_query(cls, query: QueryDict, tasks: list[str]) -> SampleFilter:
        """Read the filter from a query string.

        Raises:
            BadRequest: A value is not one of those on offer.
        """
        return cls(
            task=choice(query, "task", tasks),
            flip=choice(query, "flip", FLIPS),
            flag=choice(query, "flag", FLAGS),
        )

    def of(self, run: Run) -> QuerySet[SampleResult]:
        """Return the samples in the order that is the same for every model."""
        chosen = SampleResult.objects.filter(run=run).order_by(*ORDER)
        if self.task:
            chosen = chosen.filter(task=self.task)
        if self.flip:
            chosen = chosen.filter(flip=self.flip)
        return chosen.filter(FLAGS[self.flag]) if self.flag else chosen

    def query(self) -> dict[str, str]:
        """Return the filter as the parts of a query string that are set."""
        parts = {"task": self.task, "flip": self.flip, "flag": self.flag}
        return {key: value for key, value in parts.items() if value}


@dataclass(frozen=True, slots=True)
class SamplePage:
    """A page of samples and the keys of its neighbours."""

    rows: Sequence[SampleResult]
    before: int | None
    """Key for the page before this one."""
    after: int | None
    """Key for the page after this one."""


def page(run: Run, wanted: SampleFilter, query: QueryDict, *, size: int = PAGE) -> SamplePage:
    """Return the page that `after` or `before` (keys of samples) asks for; the first without.

    Raises:
        BadRequest: A key is not a number.
    """
    after, before = (number(query, key, 0) for key in ("after", "before"))
    light = wanted.of(run).only(*LISTED).annotate(start=Left("question", 160))
    if before and (anchor := _anchor(run, before)):
        rows = list(light.filter(_beyond(anchor, "lt")).order_by(*_reversed())[: size + 1])
        more_before, rows = len(rows) > size, rows[:size][::-1]
        return SamplePage(rows, _first(rows, more_before), _last(rows, more=bool(rows)))
    anchor = _anchor(run, after) if after else None
    rows = list((light.filter(_beyond(anchor, "gt")) if anchor else light)[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    return SamplePage(rows, _first(rows, anchor is not None), _last(rows, more=more))


def neighbours(
    samples: QuerySet[SampleResult], result: SampleResult
) -> tuple[int | None, int | None]:
    """Return the keys of the samples before and after one, within the same filter."""
    ids = samples.values_list("id", flat=True)
    previous = ids.filter(_beyond(result, "lt")).order_by(*_reversed()).first()
    return previous, ids.filter(_beyond(result, "gt")).first()


def replicates(run: Run, result: SampleResult) -> Sequence[SampleResult]:
    """Return all trajectories of a sample's question, where there are several."""
    if run.replicates == 1:
        return []
    rows = SampleResult.objects.filter(run=run, task=result.task, sample_id=result.sample_id)
    return list(rows.order_by("replicate").only("run_id", "replicate", "flip", "status"))


def tasks_of(run: Run) -> list[str]:
    """Return the names of a run's tasks, in order."""
    return sorted(set(run.shards.values_list("task", flat=True)))


def flip_counts(run: Run) -> Mapping[str, Mapping[str, int]]:
    """Count a run's flips by task, wrong→wrong split by whether the answer changed.

    Tasks on which every sample had one answer only have none.
    """
    rows = (
        SampleResult.objects.filter(run=run, status="ok")
        .order_by()
        .values("task")
        .annotate(
            **{flip: Count("id", filter=Q(flip=flip)) for flip in FLIPS},
            ii_changed=Count("id", filter=Q(flip="ii", changed=True)),
            n=Count("id"),
        )
    )
    counts: list[dict[str, Any]] = [dict(row) for row in rows]
    counts = [row for row in counts if any(row[flip] for flip in FLIPS)]
    for row in counts:
        row["ii_unchanged"] = row["ii"] - row["ii_changed"]
    return {row.pop("task"): row for row in sorted(counts, key=lambda row: row["task"])}


def _anchor(run: Run, key: int) -> SampleResult | None:
    """Find where a page starts, whether or not the sample still passes the filter."""
    return SampleResult.objects.filter(run=run, pk=key).only(*ORDER).first()


def _beyond(anchor: SampleResult, side: str) -> Q:
    """Return what lies after (`gt`) or before (`lt`) a sample in the order of the list."""
    same, found = Q(), Q()
    for field in ORDER:
        value = getattr(anchor, field)
        found |= same & Q(**{f"{field}__{side}": value})
        same &= Q(**{field: value})
    return found


def _reversed() -> list[str]:
    return [f"-{field}" for field in ORDER]


def _first(rows: Sequence[SampleResult], more: bool) -> int | None:
    return rows[0].pk if rows and more else None


def _last(rows: Sequence[SampleResult], *, more: bool) -> int | None:
    return rows[-1].pk if rows and more else None
