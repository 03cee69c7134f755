"""Prompt packs of the operator: recorded as they are found, offered for the methods they fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from evaluators.cards import FoundPack, find_packs, open_pack
from evaluators.errors import BadFile, BadParameter, InputError, NotInstalled, RedraftError
from evaluators.strategies import Prompt
from evaluators.strategies.packs import Key, PromptPack
from leaderboard.catalog.models import EvaluatorVersion, PackVersion


class PromptsDiffer(RedraftError):
    """The prompt pack that a run was submitted with is not here, or not in the same words.

    Args (as data): reason.
    """

    id = "prompts-differ"


@dataclass(frozen=True, slots=True)
class SyncedPacks:
    """What a look at the folder of prompt packs found."""

    added: tuple[str, ...]
    """Packs seen for the first time in these words."""
    removed: tuple[str, ...]
    """Packs that are not there any more; their results stay."""
    refused: tuple[str, ...]
    """Folders that are no usable pack, each with the reason."""
    total: int
    """Packs that can be chosen now."""


def sync_packs() -> SyncedPacks:
    """Record the packs that are in the configured folder; changed words are a new row.

    Raises:
        BadFile: The folder cannot be used; what was recorded stays.
    """
    folder = settings.REDRAFT_PROMPT_PACKS
    return record_packs(find_packs(folder) if folder else [])


def record_packs(found: Sequence[FoundPack]) -> SyncedPacks:
    """Make these the packs that there are; what is not among them is so no more."""
    with transaction.atomic():
        with connection.cursor() as cursor:  # processes that start together wait for one another
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('redraft catalogue'))")
        before = {row.pk: str(row) for row in PackVersion.objects.filter(problem="")}
        there = set(PackVersion.objects.filter(installed=True).values_list("pk", flat=True))
        PackVersion.objects.filter(pk__in=there).update(installed=False)
        PackVersion.objects.exclude(problem="").delete()  # nothing points at what was refused
        rows = [_record(one) for one in found]
    usable = [row for row in rows if not row.problem]
    kept = {row.pk for row in usable}
    return SyncedPacks(
        added=tuple(str(row) for row in usable if row.pk not in before),
        removed=tuple(before[pk] for pk in sorted(there & before.keys() - kept)),
        refused=tuple(f"{row.folder}: {row.problem}" for row in rows if row.problem),
        total=len(usable),
    )


def _record(found: FoundPack) -> PackVersion:
    pack = found.pack
    if pack is None:
        name = found.name[:80]
        return PackVersion.objects.create(name=name, folder=found.folder, problem=found.problem)
    told: Mapping[str, Any] = pack.to_json()
    row, _ = PackVersion.objects.update_or_create(
        name=pack.name,
        version=pack.version,
        digest=pack.digest,
        info_parity=pack.info_parity,
        problem="",
        defaults={
            "source": pack.source,
            "description": pack.description,
            "prompts": told["prompts"],
            "folder": found.folder,
            "installed": True,
            "last_seen": Now(),
        },
    )
    return row


def offered_packs(evaluator: EvaluatorVersion, packs: Collection[PackVersion]) -> list[PackVersion]:
    """Return those of the packs that stand in for a prompt of the method."""
    prompts = evaluator.card.get("prompts") or ()
    used = {f"{prompt['package']}/{prompt['name']}" for prompt in prompts}
    return [pack for pack in packs if used & pack.prompts.keys()]


def installed_packs() -> list[PackVersion]:
    """Return the packs that can be chosen, by name."""
    return list(PackVersion.objects.filter(installed=True, problem="").order_by("name"))


def chosen_pack(name: str) -> tuple[PackVersion, PromptPack]:
    """Return a pack by its name: as it is recorded, and as it lies in the folder.

    Raises:
        NotInstalled: None has the name.
        BadParameter: It was changed since it was recorded, or cannot be read any more.
    """
    packs = installed_packs()
    row = next((pack for pack in packs if pack.name == name), None)
    if row is None:
        raise NotInstalled.among("prompt pack", name, [pack.name for pack in packs])
    try:
        return row, read_recorded(row)
    except PromptsDiffer as error:
        reason = f"{error.data['reason']}; an operator has to run `manage.py sync_plugins`"
        raise BadParameter(owner="prompts", name=name, value=name, reason=reason) from error


def read_recorded(row: PackVersion, known: Mapping[Key, Prompt] | None = None) -> PromptPack:
    """Read a recorded pack from the configured folder of this machine.

    Args:
        row: As it was recorded.
        known: Installed prompts, for callers that look often.

    Raises:
        PromptsDiffer: It is not there to the letter.
    """
    folder = settings.REDRAFT_PROMPT_PACKS
    wanted = f"the prompt pack {row} (sha256 {row.short})"
    if folder is None:
        raise PromptsDiffer(reason=f"{wanted} is not here: REDRAFT_PROMPT_PACKS is not set")
    try:
        pack = open_pack(folder, row.name, known)
    except InputError as error:
        text = error.data["reason"] if isinstance(error, BadFile) else error
        raise PromptsDiffer(reason=f"{wanted} is not here: {text}") from error
    here = (pack.version, pack.digest, pack.info_parity)
    if here != (row.version, row.digest, row.info_parity):
        parity = "" if pack.info_parity == row.info_parity else f", info_parity {pack.info_parity}"
        told = f"{pack.version} (sha256 {pack.digest[:8]}{parity})"
        raise PromptsDiffer(reason=f"{wanted} is not here: its folder holds {told}")
    return pack
