"""What is refused before anything is written: whose model, what it can do, how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluators.errors import BadModel, BadParameter, BadTask, NotInstalled
from evaluators.model import CAPABILITIES
from evaluators.runtimes import ModelSpec, runtime_kind
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.catalog.needs import MODES, works_on
from leaderboard.runs.errors import MissingCapability

LARGEST_LIMIT = 1_000_000
LARGEST_SEED = 2**31 - 1
MOST_REPLICATES = 64


def check_numbers(*, limit: int | None, seed: int, replicates: int) -> None:
    """Refuse numbers out of range.

    Raises:
        BadParameter: With the field and its range.
    """
    for name, value, least, most in (
        ("limit", limit, 1, LARGEST_LIMIT),
        ("seed", seed, 0, LARGEST_SEED),
        ("replicates", replicates, 1, MOST_REPLICATES),
    ):
        if value is not None and not least <= value <= most:
            raise BadParameter(
                owner="submission", name=name, value=value, reason=f"must be from {least} to {most}"
            )


def check_owner(user: User, model: LanguageModel) -> None:
    """Refuse an endpoint of somebody else: it would be called with their key.

    Raises:
        BadModel: It belongs to another user.
    """
    if model.owner_id not in {None, user.pk}:
        raise BadModel(model=model.label, reason="it is an endpoint of another user")


def check_role(role: str, player: LanguageModel, versions: Sequence[EvaluatorVersion]) -> None:
    """Refuse a critic or judge that nobody would ask.

    Raises:
        BadParameter: None of the evaluators has that role.
    """
    if any(role in version.roles for version in versions):
        return
    installed = EvaluatorVersion.objects.filter(installed=True, problem="")
    able = [row.name for row in installed.order_by("name") if role in row.roles]
    verb = "do" if len(able) > 1 else "does"
    hint = f"; {' and '.join(able)} {verb}" if able else ""
    reason = f"none of the chosen evaluators asks a {role}{hint}"
    raise BadParameter(owner="submission", name=role, value=player.label, reason=reason)


def check_modes(version: EvaluatorVersion, suite: Suite) -> None:
    """Refuse a suite with tasks that are put in a way the evaluator does not work on.

    Raises:
        BadTask: With the first such task.
    """
    if not version.modes:  # recorded by a release that knew of no modes
        return
    for plan in suite.planned:
        if plan.mode not in version.modes:
            reason = (
                f"it is a task of {MODES.get(plan.mode, plan.mode)}, and {version.name} "
                f"works on {works_on(version)}"
            )
            raise BadTask(task=plan.key, reason=reason)


def check_capabilities(
    version: EvaluatorVersion, *, actor: LanguageModel, others: Mapping[str, LanguageModel]
) -> None:
    """Refuse now what would fail at hour three.

    Raises:
        MissingCapability: With what is missing.
    """
    _check_model(version, actor)
    for role, player in others.items():
        if "chat" in version.requires and not player.has_chat_template:
            reason = f"it has no chat template, and {version.name} lets the {role} speak in a chat"
            raise MissingCapability(model=player.label, reason=reason, missing=["chat"])
        _check_offers(version, player)


def offered(model: LanguageModel) -> frozenset[str] | None:
    """Return what a model's runtime can do: as found when it ran, else as the runtime promises.

    None when neither is known.
    """
    if model.capabilities is not None:
        return frozenset(model.capabilities)
    try:
        kind = runtime_kind(model.runtime)
    except NotInstalled:
        return None
    return kind.offers(ModelSpec(model.runtime, model.model_class, model.args, model.batch_size))


def _check_model(version: EvaluatorVersion, model: LanguageModel) -> None:
    if "chat" in version.requires and not model.has_chat_template:
        reason = f"it has no chat template, and {version.name} holds a conversation"
        raise MissingCapability(model=model.label, reason=reason, missing=["chat"])
    _check_offers(version, model)


def _check_offers(version: EvaluatorVersion, model: LanguageModel) -> None:
    needed = frozenset(version.requires)
    able = offered(model)
    if able is None or not (missing := sorted(needed - able)):
        return
    words = "; ".join(f"{name} ({CAPABILITIES.get(name, 'unknown here')})" for name in missing)
    how = "was found to lack" if model.capabilities is not None else "does not offer"
    reason = f"{version.name} needs {words}, which its runtime {model.runtime} {how}"
    raise MissingCapability(model=model.label, reason=reason, missing=missing)
