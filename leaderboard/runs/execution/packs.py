"""Which recorded prompt packs this worker has, to the letter: no run is asked in other words."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from evaluators.cards import installed_prompts, pack_for
from evaluators.evaluator import Evaluator
from evaluators.strategies import Prompt
from evaluators.strategies.packs import Key, PromptPack
from leaderboard.catalog.models import PackVersion
from leaderboard.catalog.packs import PromptsDiffer, read_recorded
from leaderboard.runs.models import Run
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.services import Claim

log = logging.getLogger(__name__)


class Packs:
    """Looks anew every time: an operator may change a pack under a running process."""

    def __init__(self) -> None:
        self.problems: tuple[str, ...] = ()
        """Why runs that ask for a pack are left to other workers, a line each."""
        self._known: Mapping[Key, Prompt] = {}

    def able(self) -> list[int]:
        """Return the keys of the packs that unfinished runs ask for and that are here."""
        asked_for = Run.objects.exclude(state__in=TERMINAL).exclude(pack=None).values("pack")
        here, problems = list[int](), list[str]()
        for row in PackVersion.objects.filter(pk__in=asked_for).order_by("pk"):
            try:
                self._read(row)
            except PromptsDiffer as error:
                problems.append(str(error.data["reason"]))
            else:
                here.append(row.pk)
        for problem in problems:
            if problem not in self.problems:
                log.warning("leaving runs to other workers: %s", problem)
        self.problems = tuple(problems)
        return here

    def _read(self, row: PackVersion) -> PromptPack:
        if not self._known:  # what is installed does not change under a running process
            self._known = installed_prompts()
        return read_recorded(row, self._known)


def prompts_for(held: Claim, evaluator: Evaluator) -> PromptPack | None:
    """Return what stands in for the prompts of a claimed run's method; None for nothing.

    Raises:
        PromptsDiffer: The words are not here any more that the run was submitted with.
    """
    told = held.prompt_pack
    if not told:
        return None
    names = ("name", "version", "digest", "info_parity")
    pack = pack_for(read_recorded(PackVersion(**{n: told[n] for n in names})), [evaluator])
    if pack.to_json()["prompts"] != told["prompts"]:
        reason = f"{evaluator.name} asks with other prompts of {told['name']} than were recorded"
        raise PromptsDiffer(reason=reason)
    return pack
