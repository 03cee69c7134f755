"""How long a board of 1,000 models takes: fills a temporary database, then times pages.

python tests/benchmarks/board_page.py [--models 1000] [--evaluators 2] [--requests 60]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("sc_calls", "greedy", "null_turn")
"""Controls whose columns are shown; rows are held against the first two."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--models", type=int, default=1000)
    options.add_argument("--evaluators", type=int, default=2)
    options.add_argument("--samples", type=int, default=0, help="over all runs")
    options.add_argument("--requests", type=int, default=60)
    given = options.parse_args()
    sys.path.insert(0, str(ROOT))
    from leaderboard.core.postgres import EmbeddedPostgres

    var = Path(tempfile.mkdtemp(prefix="redraft-bench-"))
    var.chmod(0o711)
    server = EmbeddedPostgres(var, options={"fsync": "off", "synchronous_commit": "off"})
    try:
        os.environ["DATABASE_URL"] = server.start()
        os.environ["DJANGO_SETTINGS_MODULE"] = "leaderboard.settings.test"
        measure(given)
    finally:
        server.destroy()
        shutil.rmtree(var, ignore_errors=True)


def measure(given: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    fill(given.models, given.evaluators)
    hold()
    more = add_samples(given.samples) if given.samples else {}
    report = {
        name: timed(url, given.requests)
        for name, url in {
            "board": "/",
            "board, by CS": "/?sort=cs",
            "board, by extra tokens": "/?sort=extra_tokens",
            "board, by gain over a vote": "/?sort=over_sc_calls",
            "board, all columns": "/?" + "&".join(f"column=over_{kind}" for kind in KINDS),
            "board, filtered": "/?model=model-7&evaluator=method_0",
            "board, last page": f"/?page={-(-given.models * given.evaluators // 50)}",
            "model": model_url(),
            **more,
        }.items()
    }
    print(json.dumps(report, indent=1))


def fill(models: int, evaluators: int) -> None:
    """Make completed runs; figures come from a few hundred real decompositions, reused."""
    from django.db import transaction

    from evaluators.metrics import decompose
    from leaderboard.runs.models import State
    from tests.leaderboard import factories as make

    rng = random.Random(7)
    pool = {
        task: [decompose(_flips(rng).trajectories(task)) for _ in range(40)]
        for task in ("sums", "letters")
    }
    methods = [make.EvaluatorFactory(name=f"method_{i}") for i in range(evaluators)]
    suite, user = make.SuiteFactory(), make.UserFactory()
    with transaction.atomic():
        for _ in range(models):
            submission = make.SubmissionFactory(user=user, suite=suite)
            for method in methods:
                run = make.RunFactory(
                    submission=submission, evaluator=method, state=State.COMPLETED
                )
                make.entry_of(run, {task: rng.choice(found) for task, found in pool.items()})
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def hold() -> None:
    """Hold every row against another of its model, as two kinds of control."""
    from evaluators.controls import PlannedControl, compare_control
    from leaderboard.boards.models import Against, Entry
    from leaderboard.runs.models import RunControl
    from tests.leaderboard.factories import Flips

    sides = (flips.trajectories("sums") for flips in (Flips(), Flips(18, 2, 8, 12)))
    found = compare_control(PlannedControl("sc_calls", "method_0"), *sides)
    stored = {
        "difference": found.difference.to_json(),
        "control": {name: e.to_json() for name, e in found.paired.left.items()},
        "method": {name: e.to_json() for name, e in found.paired.right.items()},
    }
    by_model: dict[int, list[Entry]] = {}
    for entry in Entry.objects.all():
        by_model.setdefault(entry.model_id, []).append(entry)
    held, against = [], []
    for first, *others in by_model.values():
        for number, entry in enumerate(others):
            for kind in KINDS[:2]:
                held.append(RunControl(run_id=entry.run_id, kind=kind, control_id=first.run_id))
                against.append(
                    Against(
                        entry=entry, kind=kind, control=first, estimates=stored,
                        gain=0.01 * number + (entry.acc_last or 0), n=40,
                    )
                )  # fmt: skip
    RunControl.objects.bulk_create(held)
    Against.objects.bulk_create(against)


def _flips(rng: random.Random):
    from tests.leaderboard.factories import Flips

    right = rng.randrange(10, 110)
    spoilt, fixed = rng.randrange(1, right // 4 + 2), rng.randrange(1, (120 - right) // 3 + 2)
    return Flips(right - spoilt, spoilt, fixed, 120 - right - fixed)


SAMPLES = """
INSERT INTO runs_sampleresult (run_id, shard_id, task, sample_id, position, replicate, cluster,
  fence,
  status, flip, changed, truncated, parsed, sample, question, gold, calls, tokens_in, tokens_out,
  tokens_computed, seconds, oracle, stop_reason, facts, failure_id, failure_detail, row_hash)
SELECT s.run_id, s.id, s.task, n::text, n, 0, '', 1, 'ok',
  (ARRAY['cc','ci','ic','ii'])[1 + mod(n, 4)], mod(n, 2) = 0, mod(n, 17) = 0, true, '{}',
  repeat('What is it? ', 20), '5', 2, 60, 24, 12, 0.1, false, '',
  '{}', '', '', md5(n::text)
FROM runs_shard s, generate_series(1, %s) n
"""


def add_samples(total: int) -> dict[str, str]:
    """Spread samples over all runs; return the pages that show one run of them."""
    from django.db import connection

    from leaderboard.runs.models import Run, SampleResult, Shard

    runs = list(Run.objects.all())
    Shard.objects.bulk_create(
        Shard(run=run, task="sums", state="COMPLETED", size=1, engine_key="x") for run in runs
    )
    with connection.cursor() as cursor:
        cursor.execute(SAMPLES, [total // len(runs)])
        cursor.execute("ANALYZE")
    run = runs[len(runs) // 2]
    key = SampleResult.objects.filter(run=run, flip="ci").order_by("-position")[2].pk
    base = f"/runs/{run.public_id}/"
    return {
        "run": base,
        "samples": f"{base}samples/",
        "samples, filtered": f"{base}samples/?flip=ci&flag=changed",
        "samples, deep": f"{base}samples/?before={key}",
        "transcript": f"{base}samples/{key}/?flip=ci",
        "status": "/status/",
    }


def model_url() -> str:
    from leaderboard.catalog.models import LanguageModel

    return f"/models/{LanguageModel.objects.first().public_id}/"


def timed(url: str, requests: int) -> dict[str, float]:
    """Return milliseconds inside the server (middleware, view, template) and queries per page."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    begun = time.perf_counter()
    page = client.get(url)
    first = 1000 * (time.perf_counter() - begun)
    assert page.status_code == 200, (url, page.status_code)
    with CaptureQueriesContext(connection) as captured:
        client.get(url)
    queries = len(captured)  # now: the next request clears the log
    times, worked = [], []
    for _ in range(requests):
        begun, busy = time.perf_counter(), time.process_time()
        client.get(url)
        times.append(1000 * (time.perf_counter() - begun))
        worked.append(1000 * (time.process_time() - busy))
    cuts = statistics.quantiles(times, n=20)
    return {
        "first_ms": round(first, 1),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(cuts[-1], 1),
        "cpu_p50_ms": round(statistics.median(worked), 1),
        "queries": queries,
        "kilobytes": round(len(page.content) / 1024),
    }


if __name__ == "__main__":
    main()
