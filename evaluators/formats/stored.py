"""What files say of a finished run, whichever tool wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from evaluators.controls import HeldAgainst
from evaluators.metrics import Trajectory
from evaluators.model import Json, SampleResult
from evaluators.ports import TaskInfo
from evaluators.tasks.spec import TaskSpec

Origin = Literal["redraft", "lm-eval", "inspect", "every-eval-ever"]
"""Whose evaluation it was; only our own transcripts hold every call."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a result file says of the run as a whole."""

    model: str
    """The model's name, such as a Hub repository; names the folder."""
    model_source: str
    """lm-eval's kind of model or our runtime: `hf`, `vllm`, ..."""
    evaluator: str
    evaluator_version: str
    started: datetime
    """Aware; files are named after it in local time, as lm-eval does."""
    model_args: Mapping[str, Json] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)
    """The evaluator's parameters."""
    model_sha: str = ""
    model_dtype: str = ""
    fingerprint: str = ""
    """The runtime's identity of model, dtype and chat template."""
    batch_size: int | None = None
    limit: int | None = None
    seed: int = 0
    seconds: float = 0.0
    """Wall time of the whole run."""
    chat_template: str | None = None
    system_instruction: str | None = None
    git_hash: str | None = None
    identity: Mapping[str, Json] = field(default_factory=dict)
    """What tells the weights from all others: files with their sha256, or what an endpoint says."""
    roles: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Models that played other roles than the actor: `critic`, `judge`."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the evaluation was made with; empty means what is installed now."""
    control: str = ""
    """Name of the run where it was made as a control of others, such as `self_consistency@5`."""
    prompt_pack: Mapping[str, Json] = field(default_factory=dict)
    """Name, version and digest of the prompt pack in force, and which prompts it stood in for."""

    @property
    def identity_of_prompts(self) -> list[str]:
        """The digest of the prompt pack, where one was in force."""
        return [str(self.prompt_pack["digest"])] if self.prompt_pack else []

    @property
    def name(self) -> str:
        """What tells the run from others of its evaluation."""
        return self.control or self.evaluator


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One evaluator's results of one model, read from files or about to be written."""

    source: Path
    """The file or folder it was read from."""
    origin: Origin
    run: RunInfo
    tasks: Mapping[str, TaskInfo]
    """An empty digest means that nobody recorded one."""
    results: Mapping[str, tuple[SampleResult, ...]]
    """By task, in the task's order."""
    specs: Mapping[str, TaskSpec] = field(default_factory=dict)
    """How each task was opened, as far as is known."""
    include_paths: tuple[str, ...] = ()
    """Folders of task YAML that were searched besides the installed ones."""
    controls: Mapping[str, tuple[HeldAgainst, ...]] = field(default_factory=dict)
    """What the results are to be held against at equal compute, by task."""

    @property
    def label(self) -> str:
        """The model and what was done with it, in one line."""
        given = {key: value for key, value in self.run.params.items() if value is not None}
        shown = ", ".join(f"{key}={value}" for key, value in given.items())
        pack = self.run.prompt_pack
        words = f" in the words of {pack['name']} {pack['version']}" if pack else ""
        return f"{self.run.evaluator}({shown}){words} of {self.run.model}"

    def trajectories(self, task: str) -> Iterator[Trajectory]:
        """Yield one task's samples as metrics see them; costs nobody recorded stay unknown."""
        return map(trajectory_of, self.results[task])


def trajectory_of(result: SampleResult) -> Trajectory:
    """Return a sample as metrics see it; costs that nobody recorded are unknown, not 0."""
    trajectory = Trajectory.from_result(result)
    if result.status != "ok" or any(node.usage for node in result.nodes):
        return trajectory
    return replace(
        trajectory,
        calls=None,
        tokens_in=None,
        tokens_out=None,
        tokens_computed=None,
        tokens_first=None,
        calls_first=None,
    )
