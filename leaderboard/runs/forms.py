"""The submission form: what to evaluate, on what, and how it should look again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from evaluators.controls import MOST_SAMPLES
from leaderboard.catalog.models import EvaluatorVersion, PackVersion, Suite
from leaderboard.catalog.needs import Capability, capabilities, works_on, works_on_text
from leaderboard.catalog.packs import installed_packs, offered_packs
from leaderboard.catalog.schema import Parameter, parameters
from leaderboard.runs.reach import in_reach
from leaderboard.runs.services.checking import LARGEST_LIMIT, LARGEST_SEED, MOST_REPLICATES


class SubmissionForm(forms.Form):
    """What is asked besides models, evaluators and their parameters."""

    suite = forms.ModelChoiceField(
        queryset=Suite.objects.filter(current=True),
        to_field_name="name",
        empty_label="choose one",
        label="Suite",
    )
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LARGEST_LIMIT,
        label="Samples per task",
        help_text="The first so many samples of each task; empty takes the suite's own limits. "
        + in_reach(),
    )
    seed = forms.IntegerField(
        min_value=0, max_value=LARGEST_SEED, initial=0, label="Seed", help_text="Root of all seeds."
    )
    replicates = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_REPLICATES,
        initial=1,
        label="Replicates",
        help_text="Independent trajectories per question. They differ where answers are sampled; "
        "greedy ones are the same every time. Statistics take them as one cluster.",
    )
    controls = forms.BooleanField(
        required=False,
        initial=True,
        label="Hold each result against controls",
        help_text="Once a method is done: one greedy answer, votes and best-of-n at its own cost, "
        "a second turn that says nothing. They wait for everybody's submissions and cost no quota. "
        "Behind an endpoint they are calls that somebody pays for: each control about as many as "
        f"the method, the vote at its tokens up to {MOST_SAMPLES} per question; "
        "equal draws are made once.",
    )

    def __init__(self, data: QueryDict | None = None, *, suite: str = "") -> None:
        super().__init__(data, label_suffix="", initial={"suite": suite})

    def clean_replicates(self) -> int:
        """Take one where nothing was typed."""
        return self.cleaned_data["replicates"] or 1


class ParameterForm(forms.Form):
    """The parameters of one evaluator, made from its schema."""

    def __init__(self, evaluator: EvaluatorVersion, data: QueryDict | None = None) -> None:
        super().__init__(data, prefix=f"p-{evaluator.name}", label_suffix="")
        self.specs = parameters(evaluator.schema)
        for spec in self.specs:
            self.fields[spec.name] = _field(spec)

    @property
    def values(self) -> dict[str, Any]:
        """Return what was typed; what was left empty takes its default."""
        return {
            spec.name: self.cleaned_data[spec.name]
            for spec in self.specs
            if self.cleaned_data.get(spec.name) not in (None, "")
        }


class WordsForm(forms.Form):
    """In whose words one evaluator asks; without a field where there is nothing to choose."""

    def __init__(
        self,
        evaluator: EvaluatorVersion,
        packs: Sequence[PackVersion],
        data: QueryDict | None = None,
    ) -> None:
        super().__init__(data, prefix=f"w-{evaluator.name}", label_suffix="")
        if fitting := offered_packs(evaluator, packs):
            self.fields["pack"] = forms.ChoiceField(
                choices=[("", "its own"), *((p.name, f"{p} ({p.short})") for p in fitting)],
                required=False,
                label="Prompts",
                help_text="A prompt pack of this server, whose texts stand in for the method's.",
            )

    @property
    def chosen(self) -> str:
        """The name of the prompt pack; empty for the method's own words."""
        return str(self.cleaned_data.get("pack") or "")


def _field(spec: Parameter) -> forms.Field:
    """Return the form field for a parameter: number with its range, switch, choice or text."""
    common: dict[str, Any] = {
        "label": spec.name,
        "help_text": _help(spec),
        "required": spec.required and spec.kind != "boolean",
        "initial": json.dumps(spec.default) if spec.kind == "json" else spec.default,
    }
    match spec.kind:
        case "boolean":
            return forms.BooleanField(**{**common, "required": False})
        case "choice":
            empty = [("", "none")] if spec.nullable else []
            return forms.TypedChoiceField(
                choices=[*empty, *((str(c), str(c)) for c in spec.choices)],
                coerce={str(c): c for c in spec.choices}.__getitem__,
                empty_value=None,
                **common,
            )
        case "integer":
            least, most = _whole(spec.low, spec.above, 1), _whole(spec.high, spec.below, -1)
            return forms.IntegerField(min_value=least, max_value=most, **common)
        case "number":
            low, high = _first(spec.low, spec.above), _first(spec.high, spec.below)
            widget = forms.NumberInput(attrs={"step": "any"})
            return forms.FloatField(min_value=low, max_value=high, widget=widget, **common)
        case "json":
            return forms.JSONField(**{**common, "initial": spec.default})
    return forms.CharField(max_length=2000, **common)


def _help(spec: Parameter) -> str:
    limits = f"({spec.range})" if spec.range and not spec.choices else ""
    return " ".join(part for part in (spec.description, limits) if part)


def _whole(inclusive: float | None, exclusive: float | None, inward: int) -> int | None:
    if inclusive is not None:
        return int(inclusive)
    return None if exclusive is None else int(exclusive) + inward


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


@dataclass(slots=True)
class EvaluatorChoice:
    """An evaluator as the form offers it."""

    evaluator: EvaluatorVersion
    form: ParameterForm
    words: WordsForm
    chosen: bool
    reason: str = ""
    """Why it cannot be chosen."""

    @property
    def fields(self) -> list[forms.BoundField]:
        """All that can be set of it."""
        return [*self.form, *self.words]

    @property
    def needs(self) -> list[Capability]:
        """What the model's runtime has to be able to do."""
        return capabilities(self.evaluator.requires)

    @property
    def only(self) -> str:
        """The tasks it is for, where it does not work on written answers."""
        return "" if works_on_text(self.evaluator) else works_on(self.evaluator)


def evaluator_choices(data: QueryDict | None, preset: str = "") -> list[EvaluatorChoice]:
    """Return every evaluator of the catalogue, the usable ones first."""
    chosen = set(data.getlist("evaluators")) if data is not None else {preset}
    latest: dict[str, EvaluatorVersion] = {}
    for version in EvaluatorVersion.objects.order_by("name", "-installed", "-id"):
        latest.setdefault(version.name, version)
    packs = installed_packs()
    offered = []
    for version in latest.values():
        reason = version.problem if version.installed else "not installed any more"
        picked = version.name in chosen and not reason
        form = ParameterForm(version, data if picked else None)
        words = WordsForm(version, packs, data if picked else None)
        offered.append(EvaluatorChoice(version, form, words, picked, reason))
    return sorted(offered, key=lambda choice: (bool(choice.reason), choice.evaluator.name))
