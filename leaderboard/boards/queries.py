"""Reads of the boards: which rows, in which order, on which page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from leaderboard.boards.columns import FIRST_DESCENDING, GUARDED, SORTS
from leaderboard.boards.figures import FEW
from leaderboard.boards.models import Entry, TaskEntry
from leaderboard.boards.ranking import board_ranks
from leaderboard.catalog.models import EvaluatorVersion, Suite
from leaderboard.core.listing import choice, number, search
from leaderboard.runs.models import Run, State
from leaderboard.runs.models.work import EXTERNAL

PAGE = 50
FEW_MODELS = 10
"""Boards of more models do not list what was not run."""
MOST_PAIRS = 500
UNFINISHED = 50
"""Rows of work not done that a board shows; the status page has the rest."""
INFORMATION = {"intrinsic": "intrinsic", "external_feedback": "external feedback"}


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a reader asked to see of a board; all of it is in the URL."""

    suite: Suite | None
    suites: Sequence[Suite]
    oracle: bool = False
    evaluator: str = ""
    model: str = ""
    information: str = ""
    sort: str = "rank"
    descending: bool = False
    page: int = 1
    evaluators: list[str] = field(default_factory=list)
    """Names on offer as a filter."""

    @property
    def filtered(self) -> bool:
        """Some rows may be hidden."""
        return bool(self.evaluator or self.model or self.information)


def read_view(query: QueryDict, *, oracle: bool) -> BoardView:
    """Read a board's state from its query string.

    Raises:
        BadRequest: A value is not one of those on offer.
    """
    suites = list(
        Suite.objects.annotate(rows=Count("entries", filter=Q(entries__oracle=oracle)))
        .filter(Q(current=True) | Q(rows__gt=0))
        .order_by("name", "-current", "-id")
    )
    by_key = {suite_key(suite): suite for suite in suites}
    busiest = max(suites, key=lambda suite: (suite.current, suite.rows), default=None)
    chosen = choice(query, "suite", by_key, suite_key(busiest) if busiest else "")
    suite = by_key.get(chosen)
    names = sorted(
        set(_board(suite, oracle=oracle).order_by().values_list("evaluator__name", flat=True))
    )
    sort = choice(query, "sort", SORTS, "rank")
    direction = choice(query, "dir", ["asc", "desc"], "desc" if sort in FIRST_DESCENDING else "asc")
    return BoardView(
        suite=suite,
        suites=suites,
        oracle=oracle,
        evaluator=choice(query, "evaluator", names),
        model=search(query, "model"),
        information=choice(query, "information", INFORMATION) if not oracle else "",
        sort=sort,
        descending=direction == "desc",
        page=number(query, "page", 1, most=100_000),
        evaluators=names,
    )


def suite_key(suite: Suite) -> str:
    """Return how a URL names a suite: by name, an older version by its digest besides."""
    return suite.name if suite.current else f"{suite.name}@{suite.digest[:8]}"


def _board(suite: Suite | None, *, oracle: bool) -> QuerySet[Entry]:
    return Entry.objects.filter(suite=suite, oracle=oracle, run__published=True)


@dataclass(frozen=True, slots=True)
class BoardPage:
    """The rows of one page of a board."""

    entries: list[Entry]
    ranks: Mapping[int, int | None]
    cells: Mapping[int, tuple[int, int, int, int]]
    """Flips of each entry over its tasks: right→right, right→wrong, wrong→right, wrong→wrong."""
    unfinished: list[Run]
    unfinished_total: int
    not_run: list[NotRun]
    finishing: int
    """Runs that are complete and whose rows are being made."""
    shown: int
    """Rows that pass the filters, on all pages."""
    hidden: int
    """Rows that the filters hide."""
    pages: int


def board_page(view: BoardView) -> BoardPage:
    """Read the page of a board that a reader asked for."""
    everything = _board(view.suite, oracle=view.oracle)
    suite_id = view.suite.pk if view.suite else 0
    ranks = board_ranks(f"{suite_id}-{view.oracle}", everything)
    chosen = everything.filter(_filters(view, critic="run__critic_model"))
    source = SORTS[view.sort]
    columns = ["id", "acc_last", "acc_first", "n", source if source != "rank" else "id"]
    keys = [_SortRow(*row) for row in chosen.order_by().values_list(*columns)]
    order = _ordered(keys, view, ranks)
    pages = max(1, -(-len(order) // PAGE))
    wanted = order[(view.page - 1) * PAGE : view.page * PAGE]
    related = ("model", "evaluator", "run__critic_model", "run__evaluator")
    found = Entry.objects.select_related(*related).in_bulk(wanted)
    waiting = unfinished_runs(view)
    last, few = view.page >= pages, FEW_MODELS * max(1, len(view.evaluators))
    return BoardPage(
        entries=[found[key] for key in wanted if key in found],
        ranks=ranks,
        cells=_cells(wanted),
        unfinished=list(waiting[:UNFINISHED]) if last else [],
        unfinished_total=waiting.count() if last else 0,
        not_run=not_run(view) if last and len(order) <= few else [],
        finishing=_finishing(view),
        shown=len(order),
        hidden=len(ranks) - len(order),
        pages=pages,
    )


@dataclass(frozen=True, slots=True)
class _SortRow:
    id: int
    acc_last: float | None
    acc_first: float | None
    n: int
    value: float | str | None


def _ordered(rows: list[_SortRow], view: BoardView, ranks: Mapping[int, int | None]) -> list[int]:
    """Return ids in the order asked for.

    Missing values come last in both directions, before them those that rest on too few answers;
    ties go by last accuracy, then by who was there first.
    """

    def value(row: _SortRow) -> float | str | None:
        chosen = ranks.get(row.id) if view.sort == "rank" else row.value
        return chosen.casefold() if isinstance(chosen, str) else chosen

    ties = sorted(
        rows, key=lambda row: (-(row.acc_last if row.acc_last is not None else -1), row.id)
    )
    present = [row for row in ties if value(row) is not None]
    solid = [row for row in present if not _rests_on_few(row, view.sort)]
    weak = [row for row in present if _rests_on_few(row, view.sort)]
    missing = [row for row in ties if value(row) is None]
    for part in (solid, weak):
        part.sort(key=value, reverse=view.descending)  # type: ignore[arg-type]  # no None left
    return [row.id for row in (*solid, *weak, *missing)]


def _rests_on_few(row: _SortRow, sort: str) -> bool:
    if sort not in GUARDED or row.acc_first is None:
        return False
    right = row.acc_first if GUARDED[sort] else 1 - row.acc_first
    return round(right * row.n) < FEW


def _filters(view: BoardView, *, critic: str) -> Q:
    """Return what a reader asked for.

    Args:
        critic: Where the rows have the critic: with another model's help, no method is intrinsic.
    """
    chosen = Q()
    if view.evaluator:
        chosen &= Q(evaluator__name=view.evaluator)
    if view.model:
        chosen &= Q(model__label__icontains=view.model)
    alone = Q(**{f"{critic}__isnull": True})
    if view.information == EXTERNAL:
        chosen &= Q(evaluator__information=EXTERNAL) | ~alone
    elif view.information:
        chosen &= Q(evaluator__information=view.information) & alone
    return chosen


def unfinished_runs(view: BoardView) -> QuerySet[Run]:
    """Return the latest run of each identity without a result: waiting, running or failed."""
    twin = Run.objects.filter(identity=OuterRef("identity"))
    runs = Run.objects.filter(
        _filters(view, critic="critic_model"), suite=view.suite, published=True
    )
    runs = runs.filter(
        Q(evaluator__information="oracle") if view.oracle else ~Q(evaluator__information="oracle")
    )
    return (
        runs.exclude(state=State.COMPLETED)
        .filter(~Exists(twin.filter(Q(state=State.COMPLETED) | Q(id__gt=OuterRef("id")))))
        .select_related("model", "critic_model", "evaluator")
        .order_by("state", "id")
    )


def _finishing(view: BoardView) -> int:
    """Count the runs of a board that have just completed and have no row yet."""
    complete = Run.objects.filter(suite=view.suite, state=State.COMPLETED, published=True)
    return complete.filter(entry=None, oracle=view.oracle).count()


@dataclass(frozen=True, slots=True)
class NotRun:
    """Evaluators that a model on the board was never submitted to."""

    label: str
    public_id: str
    evaluators: list[str]


def not_run(view: BoardView) -> list[NotRun]:
    """Return, for a board of few models, what is installed and was not tried."""
    usable = EvaluatorVersion.objects.filter(installed=True, problem="")
    usable = usable.filter(information__in=_classes(view)).order_by("name")
    names = list(usable.values_list("name", flat=True))
    tried = Run.objects.filter(suite=view.suite, published=True, model__label__icontains=view.model)
    pairs = tried.order_by().values_list("model__label", "model__public_id", "evaluator__name")
    by_model: dict[tuple[str, str], set[str]] = {}
    for label, public_id, name in pairs.distinct()[:MOST_PAIRS]:
        by_model.setdefault((label, public_id), set()).add(name)
    if len(by_model) > FEW_MODELS:
        return []
    wanted = [name for name in names if view.evaluator in {"", name}]
    gaps = [(key, [n for n in wanted if n not in done]) for key, done in sorted(by_model.items())]
    return [NotRun(*key, missing) for key, missing in gaps if missing]


def _classes(view: BoardView) -> list[str]:
    if view.oracle:
        return ["oracle"]
    return [view.information] if view.information else list(INFORMATION)


def _cells(entry_ids: list[int]) -> dict[int, tuple[int, int, int, int]]:
    """Add up the flips of entries over their tasks."""
    sums: dict[int, tuple[int, int, int, int]] = {}
    rows = TaskEntry.objects.filter(entry__in=entry_ids).order_by()
    for entry_id, cells in rows.values_list("entry_id", "decomposition__cells"):
        if cells:
            before = sums.get(entry_id, (0, 0, 0, 0))
            now = (int(cells["cc"]), int(cells["ci"]), int(cells["ic"]), int(cells["ii"]))
            sums[entry_id] = (
                before[0] + now[0], before[1] + now[1], before[2] + now[2], before[3] + now[3],
            )  # fmt: skip
    return sums
