"""Fixtures of run tests: what to evaluate, and workers that share the test's process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from evaluators import model as nouns
from evaluators.registry import describe_evaluator
from evaluators.tasks import Suite as SuiteFile
from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel
from leaderboard.catalog.services import note_sizes, record_suite, register_model
from leaderboard.runs import services
from leaderboard.runs.execution.crew import Crew
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.execution.heart import Heart
from leaderboard.runs.execution.shelf import TaskShelf
from leaderboard.runs.execution.tools import Tools
from leaderboard.runs.hardware import Slot
from leaderboard.runs.models import Shard, Worker
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.rows import Prepared, prepare
from leaderboard.runs.tuning import tuning

EVALUATORS = ("single_pass", "reask", "self_consistency", "review_improve")
TASK = "echo_flips"


def record(name: str) -> EvaluatorVersion:
    """Record an installed evaluator without the detour over a process of its own."""
    card = describe_evaluator(name)
    return EvaluatorVersion.objects.create(
        name=name,
        distribution=card.distribution,
        version=card.version,
        target=card.target,
        digest=card.digest,
        schema=dict(card.schema),
        information=card.information,
        requires=list(card.requires),
        modes=list(card.modes),
        roles=list(card.roles),
        metrics=list(card.metrics),
        source=card.source,
        controls=list(card.controls),
    )


def suite_of(*tasks: SuiteTask, name: str = "flips"):
    return record_suite(
        SuiteFile(name, "1", "For tests", tasks, digest=f"{name}-{len(tasks)}", path=None)
    )


def echo(**args) -> LanguageModel:
    return register_model(
        source="bundled", location="", runtime="echo", model_class="echo", args=args, batch_size=8
    )


@pytest.fixture
def user(db):
    return User.objects.create_user("submitter")


@pytest.fixture
def suite(db):
    """The task with known flips; its size is known, as it is after the first run."""
    found = suite_of(SuiteTask(TaskSpec(TASK)))
    note_sizes(found.pk, {TASK: 240})
    found.refresh_from_db()
    return found


@pytest.fixture
def evaluators(db):
    return {name: record(name) for name in EVALUATORS}


@pytest.fixture
def submit(user, suite, evaluators):
    """Submit evaluators on the suite for an echo; returns the runs."""

    def make(
        *names,
        model=None,
        limit=24,
        seed=0,
        on=suite,
        critic=None,
        replicates=1,
        judge=None,
        controls=False,
        **params,
    ):
        found = services.submit(
            user=user,
            model=model or echo(),
            suite=on,
            evaluators=[(name, params) for name in names or ("reask",)],
            limit=limit,
            seed=seed,
            critic=critic,
            judge=judge,
            replicates=replicates,
            controls=controls,
        )
        return list(found.runs)

    return make


@pytest.fixture
def take(db):
    """Claim the next shard as some worker would, or None."""

    def claim(worker="worker-1", **options):
        Worker.objects.get_or_create(id=worker, defaults={"host": "here", "pid": 1})
        able = list(EvaluatorVersion.objects.values_list("pk", flat=True))
        return services.claim(worker, **{"hardware": ["cpu"], "evaluators": able, **options})

    return claim


@pytest.fixture
def begin(take):
    """Claim the next shard and start on it."""

    def start(worker="worker-1", **options):
        held = take(worker, **options)
        services.start(held, facts={"task": {"name": held.task}})
        return held

    return start


def expire(held) -> None:
    """Let the lease of a shard run out."""
    past = ClockTimestamp() - timedelta(seconds=1)
    Shard.objects.filter(pk=held.shard).update(lease_until=past)


def result(number: int, *, right=(True, True), status="ok", text="", **more) -> nouns.SampleResult:
    """A finished sample of the test's task, with one call per answer."""
    sample = nouns.Sample(
        str(number), TASK, (nouns.user(f"Q{number}"),), (nouns.user(f"Q{number}"),)
    )
    nodes, answers = [], []
    for idx, correct in enumerate(right if status == "ok" else ()):
        reply = text or f"Answer: {correct}"
        nodes.append(
            nouns.Node(
                idx=idx,
                kind="answer",
                role="actor",
                round=idx,
                parents=tuple(range(idx)),
                messages=(nouns.user(f"Q{number}"),),
                text=reply,
                finish_reason="stop",
                sampling=nouns.Sampling(stop=("\n",)),
                usage=nouns.Usage(7, 2),
            )
        )
        grade = nouns.Grade(correct, float(correct), str(correct), "True", {"em,flex": 1.0})
        answers.append(nouns.AnswerState(idx, reply, False, grade, changed=idx > 0))
    failure = None
    if status != "ok":
        failure = nouns.Failure(*more.pop("failure", ("evaluator-crashed", "ValueError: no")))
    return nouns.SampleResult(
        sample, 0, status, tuple(answers), tuple(nodes), failure=failure, **more
    )


def prepared(*numbers: int, **how) -> list[Prepared]:
    return [prepare(result(number, **how), position=number) for number in numbers]


async def _work(name: str, until_idle: bool, **numbers) -> None:
    heart = Heart(name)
    heart.start()
    shelf = TaskShelf()
    slots = numbers.pop("slots", (Slot(("cpu",)),))

    def tools() -> Tools:
        return Tools(
            worker=name,
            database=DatabaseThread("leases"),
            store=DatabaseThread("generations"),
            heart=heart,
            shelf=shelf,
            numbers=tuning().model_copy(update=numbers),
        )

    try:
        await Crew(slots, tools=tools, isolation="test").run(until_idle=until_idle)
    finally:
        await shelf.close()
        heart.stop()


@pytest.fixture
def work(transactional_db):
    """Work in this process until nothing is left to do."""

    def run(name: str = "worker-1", **numbers) -> None:
        Worker.objects.get_or_create(id=name, defaults={"host": "here", "pid": 1})
        with asyncio.Runner() as runner:
            runner.run(_work(name, until_idle=True, **numbers))
        services.sweep()

    return run
