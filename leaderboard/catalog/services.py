"""Keeps the catalogue in step with what is installed, and takes in models."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from evaluators.cards import inspect_evaluators
from evaluators.errors import BadModel, InputError
from evaluators.registry import EvaluatorCard, installed
from evaluators.runtimes import ModelSpec, Preflight, bundled_models, preflight
from evaluators.runtimes.spec import stable_json
from evaluators.tasks import Suite as InstalledSuite
from evaluators.tasks import TaskSpec, list_suites, load_suite, resolve_modes
from leaderboard.accounts.models import User
from leaderboard.catalog.endpoints import Endpoint, read_endpoint
from leaderboard.catalog.keys import LONGEST, store_key
from leaderboard.catalog.models import EndpointKey, EvaluatorVersion, LanguageModel, Suite

ENDPOINT = "endpoint"
"""Name of the runtime that calls somebody's URL."""

MOST_CONCURRENT = 256
"""Calls in flight that an endpoint may be asked for."""

_SECRET_ARGS = frozenset(
    {
        "api_key",
        "key",
        "token",
        "hf_token",
        "auth_token",
        "use_auth_token",
        "access_token",
        "secret",
    }
    | {"password", "authorization", "headers", "header"}
)
"""Arguments that would make a secret public."""

_OWN_FIELDS = frozenset({"base_url", "model", "num_concurrent", "api_key_env"})
"""Arguments of an endpoint that may not be given among the others: the last would have a worker
send whatever its environment holds."""

_CARD_FIELDS = ("target", "summary", "description", "schema", "information", "source", "problem")
_WEIGHTS_KEY = "pretrained"


@dataclass(frozen=True, slots=True)
class Synced:
    """What a look at the installed plugins changed."""

    added: tuple[str, ...]
    """Versions seen for the first time."""
    removed: tuple[str, ...]
    """Versions that are not installed any more; their results stay."""
    broken: tuple[str, ...]
    """Installed, but unusable."""
    total: int
    """Evaluators that are installed now."""


def sync_plugins() -> Synced:
    """Record what evaluators are installed: a new version stands beside the old one."""
    return record_plugins(inspect_evaluators([entry.name for entry in installed("evaluator")]))


def record_plugins(cards: Sequence[EvaluatorCard]) -> Synced:
    """Make these the evaluators that are installed; what is not among them is so no more."""
    with transaction.atomic():
        _one_at_a_time()
        before = {row.pk: row for row in EvaluatorVersion.objects.all()}
        gone = [row for row in before.values() if row.installed and not _is_among(row, cards)]
        EvaluatorVersion.objects.filter(pk__in=[row.pk for row in gone]).update(installed=False)
        rows = [_record(card) for card in cards]
    return Synced(
        added=tuple(str(row) for row in rows if row.pk not in before),
        removed=tuple(str(row) for row in gone),
        broken=tuple(f"{card.name}: {card.problem}" for card in cards if card.problem),
        total=len(cards),
    )


def _one_at_a_time() -> None:
    """Make processes that start together wait for one another: both would add the same rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('redraft catalogue'))")


def _is_among(row: EvaluatorVersion, cards: Sequence[EvaluatorCard]) -> bool:
    return any(
        (row.name, row.distribution, row.version, row.digest)
        == (card.name, card.distribution, card.version, card.digest)
        for card in cards
    )


def _record(card: EvaluatorCard) -> EvaluatorVersion:
    fields: dict[str, Any] = {name: getattr(card, name) for name in _CARD_FIELDS}
    fields |= {
        "schema": dict(card.schema),
        "summary": card.summary[:500],
        "requires": list(card.requires),
        "modes": list(card.modes),
        "roles": list(card.roles),
        "metrics": list(card.metrics),
        "controls": list(card.controls),
        "card": dict(card.card),
        "installed": True,
        "last_seen": Now(),
    }
    row, _ = EvaluatorVersion.objects.update_or_create(
        name=card.name,
        distribution=card.distribution,
        version=card.version,
        digest=card.digest,
        defaults=fields,
    )
    return row


def sync_suites() -> list[Suite]:
    """Record the installed suites; a changed one is a new row beside the old results."""
    found = [load_suite(entry.name) for entry in list_suites()]
    with transaction.atomic():
        _one_at_a_time()
        digests = [suite.digest for suite in found]
        Suite.objects.filter(current=True).exclude(digest__in=digests).update(current=False)
        return [record_suite(suite) for suite in found]


def record_suite(suite: InstalledSuite) -> Suite:
    """Record one suite, bundled or read from a file, and make it the current one of its name."""
    with transaction.atomic():
        others = Suite.objects.filter(name=suite.name, current=True).exclude(digest=suite.digest)
        others.update(current=False)
        row, _ = Suite.objects.update_or_create(
            name=suite.name,
            digest=suite.digest,
            defaults={
                "version": suite.version,
                "summary": suite.summary,
                "definition": [{**_resolved(t.spec).wire(), "limit": t.limit} for t in suite.tasks],
                "current": True,
            },
        )
    return row


def _resolved(spec: TaskSpec) -> TaskSpec:
    """Fill in the mode of a multiple-choice task; what cannot be found says so when it is run."""
    try:
        return resolve_modes([spec])[0]
    except InputError:
        return spec


def note_sizes(suite_id: int, sizes: Mapping[str, int]) -> None:
    """Remember how many samples tasks have, now that they were loaded once."""
    with transaction.atomic():
        suite = Suite.objects.select_for_update(no_key=True).get(pk=suite_id)
        known = {**suite.sizes, **sizes}
        if known != suite.sizes:
            Suite.objects.filter(pk=suite_id).update(sizes=known)


def register_model(
    *,
    source: str,
    location: str,
    revision: str = "",
    runtime: str = "lm-eval",
    model_class: str = "hf",
    args: Mapping[str, Any] | None = None,
    batch_size: int = 8,
) -> LanguageModel:
    """Check a model as far as can be told without starting it, and record it once.

    Args:
        source: `bundled`, `local` or `hub`.
        location: A bundled name, an absolute path or a repository; empty without weights.
        revision: Branch, tag or commit of a repository; what it stands for now is kept.
        runtime: Name of an installed runtime.
        model_class: The runtime's own name for the kind of model.
        args: Further arguments of the runtime.
        batch_size: Most rows in flight.

    Raises:
        BadModel: The model cannot be used; one line says why.
        NotInstalled: There is no such runtime.
    """
    _check_source(source, location, batch_size)
    if runtime == ENDPOINT:
        raise BadModel(model=location or ENDPOINT, reason="an endpoint is submitted by its URL")
    _check_public(args or {}, refuse=partial(BadModel, model=location))
    given = _arguments(source, location, revision, given=args or {})
    spec = ModelSpec(runtime, model_class, given, batch_size)
    seen = preflight(spec)
    if source == LanguageModel.Source.HUB:
        if not seen.commit:
            reason = "its revision could not be resolved to a commit"
            raise BadModel(model=location, reason=reason)
        spec = ModelSpec(runtime, model_class, {**given, "revision": seen.commit}, batch_size)
    row, _ = LanguageModel.objects.get_or_create(
        engine_key=engine_key(spec),
        defaults={
            "label": clean_label(seen.label),
            "source": source,
            "location": location or spec.label,
            "revision": seen.commit or "",
            "runtime": runtime,
            "model_class": model_class,
            "args": dict(spec.args),
            "batch_size": batch_size,
            **_facts(seen),
        },
    )
    return row


def register_endpoint(
    *,
    user: User,
    url: str,
    name: str,
    secret: str = "",
    concurrency: int = 8,
    args: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Check an endpoint as far as can be told without calling it, and record it for its owner.

    Args:
        user: Whose endpoint and key it is; nobody else may have it called.
        url: What calls begin with, such as `https://host/v1`.
        name: What the endpoint calls the model.
        secret: Its key; empty takes the one that the owner has stored for this host, if any.
        concurrency: Most calls in flight.
        args: Further arguments of the runtime.

    Raises:
        BadModel: It cannot be used; one line says why, and nothing was stored.
    """
    endpoint = read_endpoint(url)
    _check_endpoint(name, secret, concurrency, given=args or {})
    given = {**(args or {}), "base_url": endpoint.url, "model": name}
    spec = ModelSpec(ENDPOINT, ENDPOINT, given, concurrency)
    preflight(spec)
    with transaction.atomic():
        if secret:
            key: EndpointKey | None = store_key(user=user, origin=endpoint.origin, secret=secret)
        else:
            key = EndpointKey.objects.filter(user=user, origin=endpoint.origin).first()
        row, _ = LanguageModel.objects.update_or_create(
            engine_key=engine_key(spec, owner=user.pk, keyed=key is not None),
            defaults={"key": key},
            create_defaults={
                "key": key,
                "keyed": key is not None,
                "owner": user,
                "label": clean_label(_endpoint_label(name, endpoint)),
                "source": LanguageModel.Source.ENDPOINT,
                "location": endpoint.url,
                "runtime": ENDPOINT,
                "model_class": ENDPOINT,
                "args": given,
                "batch_size": concurrency,
            },
        )
    return row


def note_probed(
    model_id: int, *, capabilities: Collection[str], context_window: int | None
) -> None:
    """Remember what a model's runtime was found to be able to do."""
    LanguageModel.objects.filter(pk=model_id).update(
        capabilities=sorted(capabilities), context_window=context_window, probed_at=Now()
    )


def engine_key(spec: ModelSpec, **more: object) -> str:
    """Return the sha256 of everything that decides which runtime process serves a model."""
    parts = {"spec": spec.canonical(), "args": dict(spec.args), "batch_size": spec.batch_size}
    parts |= more
    return hashlib.sha256(stable_json(parts).encode()).hexdigest()


def clean_label(label: str) -> str:
    """Return a name for readers: nothing invisible, nothing that turns text around."""
    composed = unicodedata.normalize("NFKC", label)
    visible = "".join(
        c for c in composed if unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cs"}
    )
    return " ".join(visible.split())[:200]


def _check_endpoint(name: str, secret: str, concurrency: int, *, given: Mapping[str, Any]) -> None:
    refuse = partial(BadModel, model=name[:100] or ENDPOINT)
    if not name or len(name) > 200 or clean_label(name) != name:
        raise refuse(reason="give the model's name as the endpoint knows it, on one line")
    if not 1 <= concurrency <= MOST_CONCURRENT:
        raise refuse(reason=f"the calls at a time must be from 1 to {MOST_CONCURRENT}")
    if len(secret) > LONGEST or not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise refuse(reason="its key holds characters that no key has, or too many of them")
    _check_public(given, refuse=refuse)
    if taken := given.keys() & _OWN_FIELDS:
        raise refuse(reason=f"the argument {min(taken)!r} has a field of its own")


def _check_public(given: Mapping[str, Any], *, refuse: Callable[..., BadModel]) -> None:
    """Refuse arguments that hold a key: arguments are shown and exported."""
    for name in given:
        if name.lower() in _SECRET_ARGS:
            raise refuse(reason=f"the argument {name!r} would be public; a key has its own field")


def _endpoint_label(name: str, endpoint: Endpoint) -> str:
    """Say who serves the model, unless the host's name is an internal one."""
    return f"{name} ({'private endpoint' if endpoint.private else endpoint.host})"


def _check_source(source: str, location: str, batch_size: int) -> None:
    refuse = partial(BadModel, model=location)
    sources = [name for name in LanguageModel.Source.values if name != ENDPOINT]
    if source not in sources:
        raise refuse(reason=f"the source must be one of {', '.join(sources)}")
    if not 1 <= batch_size <= 4096:
        raise refuse(reason=f"the batch size must be from 1 to 4096, not {batch_size}")
    if source == LanguageModel.Source.LOCAL and location and not location.startswith("/"):
        raise refuse(reason="a local model needs an absolute path on the worker")
    if source == LanguageModel.Source.BUNDLED and location and location not in bundled_models():
        raise refuse(reason=f"the bundled models are {', '.join(bundled_models()) or 'none'}")
    if len(location) > 500:
        raise refuse(reason="its name is longer than 500 characters")


def _arguments(
    source: str, location: str, revision: str, *, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the runtime's arguments with the weights among them."""
    if given.get("trust_remote_code"):
        reason = "trust_remote_code is refused: it runs the model author's code"
        raise BadModel(model=location, reason=reason)
    found = dict(given)
    if location:
        found[_WEIGHTS_KEY] = location
    if revision and source == LanguageModel.Source.HUB:
        found["revision"] = revision
    return found


def _facts(seen: Preflight) -> dict[str, Any]:
    return {
        "has_chat_template": seen.has_chat_template is not False,
        "architecture": (seen.architecture or "")[:100],
        "parameters": seen.parameters,
        "size_bytes": seen.size_bytes,
    }
