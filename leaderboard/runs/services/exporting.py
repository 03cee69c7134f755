"""Runs as the library's files know them, and packed in the formats of other tools."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, Any

from evaluators.formats.eee import write_every_eval_ever
from evaluators.formats.folder import write_folder
from evaluators.formats.inspect_logs import PACKAGE, write_inspect
from evaluators.formats.lm_eval_files import write_lm_eval
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import Sampling
from evaluators.ports import TaskInfo
from evaluators.tasks import TaskSpec
from leaderboard.catalog.models import LanguageModel
from leaderboard.runs.models import Run
from leaderboard.runs.services.reading import read_results

Writer = Callable[[Path, StoredRun], Iterator[Path]]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: equal contents give equal bytes."""


def _lm_eval(out: Path, stored: StoredRun) -> Iterator[Path]:
    results = chain.from_iterable(stored.results.values())
    yield from write_lm_eval(out, results, tasks=stored.tasks, run=stored.run)


WRITERS: Mapping[str, Writer] = {
    "redraft": write_folder,
    "lm-eval": _lm_eval,
    "inspect": write_inspect,
    "every-eval-ever": write_every_eval_ever,
}
"""Whose files a run can be had as."""


def available() -> list[str]:
    """Return the formats that can be written here: Inspect's logs need its own package."""
    return [name for name in WRITERS if name != "inspect" or find_spec(PACKAGE) is not None]


def pack(run: Run, form: str, *, show_location: bool) -> IO[bytes]:
    """Return an archive of a run's files, from its beginning; it goes when it is closed.

    Args:
        run: A completed run.
        form: One of `WRITERS`.
        show_location: Whether the reader may know where the model lies.

    Raises:
        BadFile: The format's own tool refuses.
    """
    stored = stored_run(run, show_location=show_location)
    archive = tempfile.TemporaryFile(prefix="redraft-")  # noqa: SIM115 - whoever sends it closes it
    try:
        with (
            tempfile.TemporaryDirectory(prefix="redraft-") as folder,
            zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for path in list(WRITERS[form](Path(folder), stored)):
                _add(packed, path, str(path.relative_to(folder)))
    except BaseException:
        archive.close()
        raise
    archive.seek(0)
    return archive


def stored_run(run: Run, *, show_location: bool = True) -> StoredRun:
    """Put a run together as the library's files know it."""
    facts = {
        found["task"]["name"]: found
        for found in run.shards.order_by("id").values_list("facts", flat=True)
        if "task" in found
    }
    specs = {plan.key: TaskSpec.from_wire(plan.settings) for plan in run.suite.planned}
    return StoredRun(
        source=Path(run.public_id),
        origin="redraft",
        run=_info(run, next(iter(facts.values()), {}), show_location=show_location),
        tasks={name: _task(found) for name, found in sorted(facts.items())},
        results={name: tuple(read_results(run, name)) for name in sorted(facts)},
        specs={name: spec for name, spec in specs.items() if name in facts},
    )


def _info(run: Run, facts: Mapping[str, Any], *, show_location: bool) -> RunInfo:
    model, runtime = run.model, facts.get("runtime", {})
    started, ended = run.started_at or run.queued_at, run.finished_at
    return RunInfo(
        model=model.label,
        model_source=model.model_class if model.runtime == "lm-eval" else model.runtime,
        evaluator=run.evaluator.name,
        evaluator_version=run.evaluator.version,
        started=started,
        model_args=model.args if show_location else {},
        params=run.params,
        model_sha=model.revision,
        model_dtype=runtime.get("dtype") or "",
        fingerprint=runtime.get("fingerprint") or "",
        batch_size=model.batch_size,
        limit=run.limit,
        seed=run.seed,
        seconds=(ended - started).total_seconds() if ended else 0.0,
        roles={role: _role(other, facts.get(role, {})) for role, other in run.others.items()},
        prompt_pack=run.prompt_pack,
        packages={**runtime.get("versions", {}), **facts.get("server", {})},
    )


def _role(model: LanguageModel, runtime: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": model.label,
        "model_source": model.runtime,
        "model_sha": model.revision,
        "fingerprint": runtime.get("fingerprint") or "",
    }


def _task(facts: Mapping[str, Any]) -> TaskInfo:
    """Return what a task said of itself; what an older release did not note is left empty."""
    task, words = facts["task"], facts.get("words", {})
    sampling = dict(task.get("sampling") or {})
    if "stop" in sampling:
        sampling["stop"] = tuple(sampling["stop"])
    return TaskInfo(
        name=task["name"],
        version=str(task["version"]),
        size=task["size"],
        sampling=Sampling(**sampling),
        metric=task["metric"],
        filter=task["filter"],
        threshold=task["threshold"],
        num_fewshot=task["num_fewshot"],
        summary=words.get("summary", ""),
        digest=task["digest"],
        filters=tuple(task.get("filters") or [task["filter"]]),
        config=words.get("config") or {},
        mode=task.get("mode", "generate_until"),
        overlong=task.get("overlong", "unscored"),
    )


def _add(packed: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    with path.open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
        while block := source.read(1 << 20):
            target.write(block)
