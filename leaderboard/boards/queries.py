"""Reads of the boards: which rows, in which order, on which page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from leaderboard.boards.beside import Beside, beside_of, gains
from leaderboard.boards.columns import (
    BESIDE,
    FIGURES,
    FIRST_DESCENDING,
    GUARDED,
    PRIMARY,
    SORTS,
    Column,
    offered,
    usual,
)
from leaderboard.boards.figures import FEW
from leaderboard.boards.models import Entry, TaskEntry
from leaderboard.boards.ranking import board_ranks
from leaderboard.catalog.models import EvaluatorVersion, Suite
from leaderboard.core.listing import choice, choices, number, search
from leaderboard.runs.models import Run, State
from leaderboard.runs.models.work import EXTERNAL

PAGE = 50
FEW_MODELS = 10
"""Boards of more models do not list what was not run."""
MOST_PAIRS = 500
NAMED = 12
"""Methods that were not run and are named one by one."""
UNFINISHED = 50
"""Rows of work not done that a board shows; the status page has the rest."""
INFORMATION = {"intrinsic": "intrinsic", "external_feedback": "external feedback"}
ROWS = {"methods": "what was submitted", "controls": "mere controls"}


@dataclass(frozen=True, slots=True)
class Tab:
    """A suite as a board offers it."""

    suite: Suite
    rows: int
    used: bool
    """Something was submitted on it that belongs on this board."""

    @property
    def key(self) -> str:
        """How a URL names the suite: by name, an older version by its digest besides."""
        name, digest = self.suite.name, self.suite.digest
        return name if self.suite.current else f"{name}@{digest[:8]}"

    @property
    def busy(self) -> tuple[bool, int, bool, int]:
        """How much there is to see; where there is nothing, the shortest suite goes first."""
        return self.suite.current, self.rows, self.used, -len(self.suite.definition)


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a reader asked to see of a board; all of it is in the URL."""

    suite: Suite | None
    tabs: Sequence[Tab]
    """The suites on offer."""
    oracle: bool = False
    evaluator: str = ""
    model: str = ""
    information: str = ""
    rows: str = ""
    """`methods` leaves out what was made as a control only, `controls` all else."""
    columns: Sequence[Column] = FIGURES
    sort: str = "rank"
    descending: bool = False
    page: int = 1
    evaluators: list[str] = field(default_factory=list)
    """Names on offer as a filter."""

    @property
    def filtered(self) -> bool:
        """Some rows may be hidden."""
        return bool(self.evaluator or self.model or self.information or self.rows)

    @property
    def sort_control(self) -> str:
        """The kind of control that the rows are sorted by the gain over; usually none."""
        return next((column.control for column in BESIDE if column.key == self.sort), "")


def read_view(query: QueryDict, *, oracle: bool) -> BoardView:
    """Read a board's state from its query string.

    Raises:
        BadRequest: A value is not one of those on offer.
    """
    tabs = _tabs(oracle=oracle)
    by_key = {tab.key: tab for tab in tabs}
    busiest = max(tabs, key=attrgetter("busy"), default=None)
    chosen = choice(query, "suite", by_key, busiest.key if busiest else "")
    suite = by_key[chosen].suite if chosen else None
    names = sorted(
        set(_board(suite, oracle=oracle).order_by().values_list("evaluator__name", flat=True))
    )
    sort = choice(query, "sort", SORTS, "rank")
    direction = choice(query, "dir", ["asc", "desc"], "desc" if sort in FIRST_DESCENDING else "asc")
    return BoardView(
        suite=suite,
        tabs=tabs,
        oracle=oracle,
        evaluator=choice(query, "evaluator", names),
        model=search(query, "model"),
        information=choice(query, "information", INFORMATION) if not oracle else "",
        rows=choice(query, "rows", ROWS),
        columns=_columns(query, oracle=oracle),
        sort=sort,
        descending=direction == "desc",
        page=number(query, "page", 1, most=100_000),
        evaluators=names,
    )


def _tabs(*, oracle: bool) -> list[Tab]:
    """Return the current suites, and those before them that have rows."""
    runs = _runs_of(oracle=oracle).filter(suite=OuterRef("pk"))
    suites = Suite.objects.annotate(
        rows=Count("entries", filter=Q(entries__oracle=oracle)), used=Exists(runs)
    ).filter(Q(current=True) | Q(rows__gt=0))
    ordered = suites.order_by("name", "-current", "-id")
    return [Tab(suite, suite.rows, suite.used) for suite in ordered]


def _runs_of(*, oracle: bool) -> QuerySet[Run]:
    """Return the public runs that belong on a board."""
    gold = Q(evaluator__information="oracle")
    return Run.objects.filter(gold if oracle else ~gold, published=True)


def _columns(query: QueryDict, *, oracle: bool) -> tuple[Column, ...]:
    """Return the columns that a reader chose, in the board's order; without a choice the usual."""
    known = {column.key: column for column in offered(oracle=oracle)}
    chosen = set(choices(query, "column", known))
    if not chosen:
        return usual(oracle=oracle)
    return tuple(known[key] for key in known if key in chosen | {PRIMARY})


def _board(suite: Suite | None, *, oracle: bool) -> QuerySet[Entry]:
    return Entry.objects.filter(suite=suite, oracle=oracle, run__published=True)


@dataclass(frozen=True, slots=True)
class BoardPage:
    """The rows of one page of a board."""

    entries: list[Entry]
    ranks: Mapping[int, int | None]
    cells: Mapping[int, tuple[int, int, int, int]]
    """Flips of each entry over its tasks: right→right, right→wrong, wrong→right, wrong→wrong."""
    beside: Mapping[int, Mapping[str, Beside]]
    """Controls of each entry, by kind."""
    unfinished: list[Run]
    unfinished_total: int
    unfinished_controls: int
    """Mere controls among them, which are not listed one by one unless asked for."""
    not_run: list[NotRun]
    finishing: int
    """Runs that are complete and whose rows are being made."""
    shown: int
    """Rows that pass the filters, on all pages."""
    hidden: int
    """Rows that the filters hide."""
    pages: int


_RELATED = (
    "model", "evaluator", "run__critic_model", "run__judge_model", "run__evaluator", "run__pack",
)  # fmt: skip
"""What a row shows besides its figures."""


def board_page(view: BoardView) -> BoardPage:
    """Read the page of a board that a reader asked for."""
    everything = _board(view.suite, oracle=view.oracle)
    suite_id = view.suite.pk if view.suite else 0
    ranks = board_ranks(f"{suite_id}-{view.oracle}", everything)
    chosen = everything.filter(_filters(view, run="run__"))
    order = _ordered(_sort_rows(chosen, view, ranks), view)
    pages = max(1, -(-len(order) // PAGE))
    wanted = order[(view.page - 1) * PAGE : view.page * PAGE]
    found = Entry.objects.select_related(*_RELATED).in_bulk(wanted)
    entries = [found[key] for key in wanted if key in found]
    waiting, counts = _waiting(view)
    last, few = view.page >= pages, FEW_MODELS * max(1, len(view.evaluators))
    return BoardPage(
        entries=entries,
        ranks=ranks,
        cells=_cells(wanted),
        beside=beside_of(entries),
        unfinished=list(waiting[:UNFINISHED]) if last else [],
        unfinished_total=counts["listed"] if last else 0,
        unfinished_controls=counts["mere"] if last else 0,
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
    value: float | str | None
    """What the board is sorted by; None where a row has none."""
    few: bool
    """The value rests on too few answers to stand on top."""


def _sort_rows(
    chosen: QuerySet[Entry], view: BoardView, ranks: Mapping[int, int | None]
) -> list[_SortRow]:
    """Read what the rows are sorted by."""
    source = SORTS[view.sort] or "id"
    columns = ["id", "acc_last", "acc_first", "n", source if source != "rank" else "id"]
    rows = list(chosen.order_by().values_list(*columns))
    if view.sort_control:
        known = gains(chosen, view.sort_control)
        found = {pk: (last, *known.get(pk, (None, 0))) for pk, last, *_ in rows}
        return [_SortRow(pk, last, gain, n < FEW) for pk, (last, gain, n) in found.items()]
    return [
        _SortRow(
            pk,
            last,
            ranks.get(pk) if view.sort == "rank" else _folded(value),
            _rests_on_few(view.sort, first, n),
        )
        for pk, last, first, n, value in rows
    ]


def _folded(value: float | str | None) -> float | str | None:
    return value.casefold() if isinstance(value, str) else value


def _ordered(rows: list[_SortRow], view: BoardView) -> list[int]:
    """Return ids in the order asked for.

    Missing values come last in both directions, before them those that rest on too few answers;
    ties go by last accuracy, then by who was there first.
    """
    ties = sorted(
        rows, key=lambda row: (-(row.acc_last if row.acc_last is not None else -1), row.id)
    )
    present = [row for row in ties if row.value is not None]
    solid = [row for row in present if not row.few]
    weak = [row for row in present if row.few]
    missing = [row for row in ties if row.value is None]
    for part in (solid, weak):
        part.sort(key=attrgetter("value"), reverse=view.descending)
    return [row.id for row in (*solid, *weak, *missing)]


def _rests_on_few(sort: str, first: float | None, n: int) -> bool:
    if sort not in GUARDED or first is None:
        return False
    right = first if GUARDED[sort] else 1 - first
    return round(right * n) < FEW


def _filters(view: BoardView, *, run: str = "") -> Q:
    """Return what a reader asked for.

    Args:
        run: How the rows lead to their run; empty where they are runs.
    """
    chosen = Q()
    if view.evaluator:
        chosen &= Q(evaluator__name=view.evaluator)
    if view.model:
        chosen &= Q(model__label__icontains=view.model)
    if view.rows:
        chosen &= Q(**{f"{run}control_only": view.rows == "controls"})
    return chosen & _of_information(view.information, run)


def _of_information(information: str, run: str) -> Q:
    """Return the rows of a class: with another model's help, no method is intrinsic."""
    roles = ("critic_model", "judge_model")
    alone = Q(**{f"{run}{role}__isnull": True for role in roles})
    if information == EXTERNAL:
        return Q(evaluator__information=EXTERNAL) | ~alone
    return Q(evaluator__information=information) & alone if information else Q()


def unfinished_runs(view: BoardView) -> QuerySet[Run]:
    """Return the latest run of each identity without a result: waiting, running or failed."""
    twin = Run.objects.filter(identity=OuterRef("identity"))
    runs = _runs_of(oracle=view.oracle).filter(_filters(view), suite=view.suite)
    return (
        runs.exclude(state=State.COMPLETED)
        .filter(~Exists(twin.filter(Q(state=State.COMPLETED) | Q(id__gt=OuterRef("id")))))
        .select_related("model", "critic_model", "judge_model", "evaluator", "pack")
        .order_by("state", "id")
    )


def _waiting(view: BoardView) -> tuple[QuerySet[Run], Mapping[str, int]]:
    """Return the unfinished runs that are listed, and how many there are of which kind."""
    everything = unfinished_runs(view)
    mere = Q(control_only=True)
    if view.rows == "controls":
        return everything, {"listed": everything.count(), "mere": 0}
    counts = everything.order_by().aggregate(
        listed=Count("id", filter=~mere), mere=Count("id", filter=mere)
    )
    return everything.exclude(mere), counts


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

    @property
    def named(self) -> list[str]:
        """Those that are named one by one."""
        return self.evaluators[:NAMED]

    @property
    def more(self) -> int:
        """How many there are besides."""
        return len(self.evaluators) - len(self.named)


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
