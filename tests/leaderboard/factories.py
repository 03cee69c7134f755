"""Rows for server tests: factories for each table, and whole scenes made of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from evaluators.controls import PlannedControl, compare_control
from evaluators.metrics import Decomposition, Trajectory, decompose, macro
from evaluators.metrics.decompose import macro_of
from leaderboard.accounts.models import User
from leaderboard.boards.models import Against, Entry, TaskEntry
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.runs.models import (
    AnswerState,
    Attempt,
    Event,
    Judgement,
    Node,
    Run,
    RunControl,
    SampleResult,
    Shard,
    State,
    Submission,
    Worker,
)

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts that tests make


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    password = factory.django.Password(PASSWORD)


class LanguageModelFactory(DjangoModelFactory):
    class Meta:
        model = LanguageModel

    label = factory.Sequence(lambda n: f"org/model-{n}")
    source = LanguageModel.Source.HUB
    location = factory.SelfAttribute("label")
    revision = factory.LazyAttribute(lambda o: sha(o.label)[:40])
    runtime = "lm-eval"
    model_class = "hf"
    args = factory.LazyAttribute(lambda o: {"pretrained": o.location, "revision": o.revision})
    engine_key = factory.LazyAttribute(lambda o: sha(o.label))
    parameters = 134_515_008

    @classmethod
    def _create(cls, table, /, **values):
        return table.objects.create(**values)  # factory_boy's own has an argument `model_class`


class SuiteFactory(DjangoModelFactory):
    class Meta:
        model = Suite
        django_get_or_create = ("name", "digest")

    name = "demo"
    version = "1"
    summary = "Two small tasks."
    digest = factory.LazyAttribute(lambda o: sha(o.name + o.version))
    definition = factory.LazyFunction(lambda: [{"name": "sums", "limit": 40}, {"name": "letters"}])
    sizes = factory.LazyFunction(lambda: {"sums": 400, "letters": 40})


ROUNDS = {
    "type": "object",
    "properties": {
        "rounds": {
            "type": "integer",
            "minimum": 1,
            "maximum": 8,
            "default": 1,
            "description": "How many times to ask again.",
        }
    },
}


class EvaluatorFactory(DjangoModelFactory):
    class Meta:
        model = EvaluatorVersion
        django_get_or_create = ("name", "distribution", "version", "digest")

    name = "reask"
    distribution = "redraft-self-correction"
    version = "0.1.0"
    target = factory.LazyAttribute(lambda o: f"redraft_self_correction.{o.name}:{o.name}")
    digest = factory.LazyAttribute(lambda o: sha(o.name + o.version))
    summary = "Ask the same question again after the model's own answer."
    schema = factory.LazyFunction(lambda: ROUNDS)
    requires = factory.LazyFunction(lambda: ["chat"])
    controls = factory.LazyFunction(lambda: ["greedy", "sc_calls", "null_turn"])


class SubmissionFactory(DjangoModelFactory):
    class Meta:
        model = Submission

    user = factory.SubFactory(UserFactory)
    model = factory.SubFactory(LanguageModelFactory)
    suite = factory.SubFactory(SuiteFactory)


class RunFactory(DjangoModelFactory):
    class Meta:
        model = Run

    submission = factory.SubFactory(SubmissionFactory)
    model = factory.SelfAttribute("submission.model")
    suite = factory.SelfAttribute("submission.suite")
    evaluator = factory.SubFactory(EvaluatorFactory)
    params = factory.LazyFunction(lambda: {"rounds": 1})
    identity = factory.LazyAttribute(
        lambda o: sha(
            (o.model.engine_key, o.suite.digest, o.evaluator.digest, sorted(o.params.items()))
        )
    )
    state = State.QUEUED

    @factory.lazy_attribute
    def manifest_sha256(self):
        return sha("manifest") if self.state == State.COMPLETED else ""

    @factory.lazy_attribute
    def manifest(self):
        return {"format": 1} if self.state == State.COMPLETED else None

    @factory.lazy_attribute
    def finished_at(self):
        return timezone.now() if self.state in {"COMPLETED", "FAILED", "CANCELLED"} else None


class ShardFactory(DjangoModelFactory):
    class Meta:
        model = Shard

    run = factory.SubFactory(RunFactory)
    task = "sums"
    size = 40
    state = factory.SelfAttribute("run.state")
    engine_key = factory.SelfAttribute("run.model.engine_key")

    @factory.lazy_attribute
    def owner(self):
        return "worker-1" if self.state in {"PREPARING", "RUNNING", "SCORING"} else None

    @factory.lazy_attribute
    def lease_until(self):
        return timezone.now() + timezone.timedelta(seconds=60) if self.owner else None


class AttemptFactory(DjangoModelFactory):
    class Meta:
        model = Attempt

    shard = factory.SubFactory(ShardFactory)
    fence = factory.Sequence(lambda n: n + 1)
    worker = "worker-1"
    last_heartbeat_at = factory.LazyFunction(timezone.now)


class EventFactory(DjangoModelFactory):
    class Meta:
        model = Event

    run = factory.SubFactory(RunFactory)
    seq = factory.Sequence(lambda n: n + 1)
    to_state = "QUEUED"
    actor = "user:1"


class WorkerFactory(DjangoModelFactory):
    class Meta:
        model = Worker

    id = factory.Sequence(lambda n: f"host-{n}-abcdef")
    host = "host"
    pid = 4242
    hardware = factory.LazyFunction(lambda: ["cpu"])
    isolation = "bwrap"
    last_seen = factory.LazyFunction(timezone.now)


class SampleResultFactory(DjangoModelFactory):
    class Meta:
        model = SampleResult

    run = factory.SelfAttribute("shard.run")
    shard = factory.SubFactory(ShardFactory)
    task = factory.SelfAttribute("shard.task")
    position = factory.Sequence(lambda n: n)
    sample_id = factory.LazyAttribute(lambda o: f"{o.task}-{o.position}")
    fence = 1
    status = SampleResult.Status.OK
    flip = "cc"
    question = "What is 2 + 3?"
    gold = "5"
    calls = 2
    tokens_in = 60
    tokens_out = 24
    tokens_computed = 12
    row_hash = factory.LazyAttribute(lambda o: sha(o.sample_id))


class NodeFactory(DjangoModelFactory):
    class Meta:
        model = Node

    result = factory.SubFactory(SampleResultFactory)
    idx = 0
    kind = "answer"
    role = "actor"
    messages = factory.LazyAttribute(lambda o: [{"role": "user", "content": o.result.question}])
    text = "The answer is 5."
    finish_reason = "stop"
    tokens_in = 20
    tokens_out = 12


class AnswerFactory(DjangoModelFactory):
    class Meta:
        model = AnswerState

    result = factory.SubFactory(SampleResultFactory)
    idx = 0
    node_idx = 0
    text = "The answer is 5."
    extracted = "5"
    correct = True
    score = 1.0
    scores = factory.LazyFunction(lambda: {"exact_match,strict": 1.0})


class JudgementFactory(DjangoModelFactory):
    class Meta:
        model = Judgement

    result = factory.SubFactory(SampleResultFactory)
    idx = 0
    answer_idx = 0
    node_idx = 0
    value = "correct"


@dataclass(frozen=True)
class Flips:
    """How many samples of a task go which way; counts, not shares."""

    cc: int = 20
    ci: int = 4
    ic: int = 10
    ii: int = 6

    def trajectories(self, task: str) -> list[Trajectory]:
        kinds = [(True, True)] * self.cc + [(True, False)] * self.ci
        kinds += [(False, True)] * self.ic + [(False, False)] * self.ii
        return [
            Trajectory(
                id=f"{task}-{i}",
                task=task,
                correct=pair,
                parsed=(True, True),
                truncated=(False, False),
                changed=(False, pair[0] != pair[1] or i % 2 == 0),
                calls=2,
                tokens_in=60,
                tokens_out=24 + i % 5,
                tokens_computed=12,
                tokens_first=12,
            )
            for i, pair in enumerate(kinds)
        ]


def completed(
    run: Run | None = None, *, flips: dict[str, Flips] | None = None, **kwargs: object
) -> Entry:
    """Make a completed run with its board rows, every figure computed by the library."""
    run = run or RunFactory(state=State.COMPLETED, **kwargs)
    by_task = {
        task: decompose(counts.trajectories(task))
        for task, counts in (flips or {"sums": Flips()}).items()
    }
    return entry_of(run, by_task)


def entry_of(run: Run, by_task: dict[str, Decomposition]) -> Entry:
    estimates = macro(by_task)
    values = {name: estimate.value for name, estimate in estimates.items()}
    entry = Entry.objects.create(
        run=run,
        model=run.model,
        evaluator=run.evaluator,
        suite=run.suite,
        oracle=run.oracle,
        estimates={name: estimate.to_json() for name, estimate in estimates.items()},
        acc_first=values["acc@1"],
        acc_last=values["acc@last"],
        delta=values["delta"],
        cl=values["CL"],
        cs=values["CS"],
        rss=values["RSS"],
        net_flips=_net(by_task.values()),
        calls=values["calls"],
        tokens_out=values["tokens_out"],
        n=sum(d.n for d in by_task.values()),
        n_total=sum(d.n_total for d in by_task.values()),
    )
    for task, found in by_task.items():
        TaskEntry.objects.create(
            entry=entry, task=task, decomposition=found.to_json(), n=found.n, n_total=found.n_total
        )
    return entry


def held(
    entry: Entry, control: Entry, kind: str = "sc_calls", *, ours: Flips, theirs: Flips
) -> Against:
    """Hold a row against another as the sweeper does, both on the one task `sums`."""
    RunControl.objects.create(run=entry.run, kind=kind, control=control.run)
    planned = PlannedControl(kind, control.evaluator.name, control.run.params)
    sides = (sorted(flips.trajectories("sums"), key=lambda t: t.id) for flips in (ours, theirs))
    found = compare_control(planned, *sides)
    means = macro_of({"sums": {"difference": found.difference}})
    return Against.objects.create(
        entry=entry,
        kind=kind,
        control=control,
        estimates={
            "difference": means["difference"].to_json(),
            "significance": found.significance.to_json(),
            "control": {name: e.to_json() for name, e in found.paired.left.items()},
            "method": {name: e.to_json() for name, e in found.paired.right.items()},
        },
        tasks={"sums": found.to_json()},
        gain=means["difference"].value,
        n=found.paired.n,
    )


def _net(found: Iterable[Decomposition]) -> int | None:
    cells = [d.cells for d in found if d.cells]
    return sum(int(c.ic - c.ci) for c in cells) if cells else None


TALK = (
    "Let me add the two numbers.\n2 + 3 = 5.\n\n#### 5",
    "Looking at it once more: 2 + 3 is 6.\n\n#### 6",
)


def talk(result: SampleResult, texts: Sequence[str] = TALK, **node: object) -> SampleResult:
    """Give a sample a chat of one round per text, each answer graded."""
    messages = [
        {"role": "system", "content": "Answer with a number after ####."},
        {"role": "user", "content": result.question},
    ]
    right = {"cc": (True, True), "ci": (True, False), "ic": (False, True), "ii": (False, False)}
    verdicts = itertools.chain(right.get(result.flip, (True,)), itertools.repeat(True))
    for idx, (text, correct) in enumerate(zip(texts, verdicts, strict=False)):
        NodeFactory(
            result=result,
            idx=idx,
            round=idx,
            parents=[idx - 1] if idx else [],
            messages=list(messages),
            text=text,
            cached=idx == 0,
            **node,
        )
        AnswerFactory(
            result=result,
            idx=idx,
            node_idx=idx,
            text=text,
            extracted=text.rpartition("#### ")[2],
            correct=correct,
            score=float(correct),
            changed=idx > 0,
        )
        messages += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": "Check your answer, then give it again."},
        ]
    return result
