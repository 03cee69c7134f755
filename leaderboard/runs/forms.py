"""The submission form: what to evaluate, on what, and how it should look again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.http import QueryDict

from evaluators.errors import BadModel
from evaluators.runtimes import bundled_models, parse_model_args, runtime_names
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.catalog.schema import Parameter, parameters

Source = LanguageModel.Source

NEEDED: Mapping[str, tuple[str, str]] = {
    Source.BUNDLED: ("bundled", "Choose one of the bundled models."),
    Source.HUB: ("repository", "Give the repository, such as org/name."),
    Source.LOCAL: ("path", "Give the absolute path of the model's folder on this server."),
}
"""The field that each source needs, and what to say when it is empty."""

WEIGHTED = frozenset({"lm-eval", "vllm"})
"""Bundled runtimes that load weights; others, such as `echo`, may do without."""


def may_use_paths(user: User) -> bool:
    """Tell whether a user may name paths of this server."""
    return user.is_staff or bool(getattr(settings, "REDRAFT_ALLOW_LOCAL_MODELS", False))


class SubmissionForm(forms.Form):
    """Everything but the evaluators and their parameters."""

    source = forms.ChoiceField(
        choices=Source.choices, initial=Source.BUNDLED, label="Where the model comes from"
    )
    bundled = forms.ChoiceField(required=False, label="Bundled model")
    repository = forms.RegexField(
        r"^[\w.\-]+/[\w.\-]+$",
        required=False,
        max_length=200,
        label="Repository",
        help_text="On the Hugging Face Hub, as org/name.",
        error_messages={"invalid": "A repository looks like org/name."},
    )
    revision = forms.CharField(
        required=False,
        max_length=64,
        label="Revision",
        help_text="Branch, tag or commit; it is resolved to a commit now and pinned.",
    )
    path = forms.CharField(
        required=False,
        max_length=500,
        label="Path",
        help_text="Absolute path of a folder or file on this server.",
    )
    suite = forms.ModelChoiceField(
        queryset=Suite.objects.filter(current=True),
        to_field_name="name",
        empty_label=None,
        label="Suite",
    )
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        label="Samples per task",
        help_text="The first so many samples of each task; empty takes the suite's own limits.",
    )
    seed = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, initial=0, label="Seed", help_text="Root of all seeds."
    )
    runtime = forms.ChoiceField(label="Runtime", help_text="What serves the model.")
    model_class = forms.CharField(
        max_length=64,
        initial="hf",
        label="Model class",
        help_text="The runtime's name for the kind of model.",
    )
    args = forms.CharField(
        required=False,
        max_length=2000,
        label="Further model arguments",
        help_text="key=value, separated by commas, as lm-eval takes them; or JSON.",
    )
    batch_size = forms.IntegerField(
        min_value=1,
        max_value=256,
        initial=8,
        label="Batch size",
        help_text="Most samples generated at once.",
    )

    def __init__(self, data: QueryDict | None = None, *, user: User) -> None:
        super().__init__(data, label_suffix="")
        self.paths = may_use_paths(user)
        if not self.paths:
            del self.fields["path"]
        sources = [s for s in Source.choices if s[0] != Source.LOCAL or self.paths]
        _choose(self, "source", sources)
        weights = [(name, name) for name in bundled_models()]
        _choose(self, "bundled", [*weights, ("", "none: the runtime needs no weights")])
        self.fields["bundled"].initial = weights[0][0] if weights else ""
        _choose(self, "runtime", [(name, name) for name in _runtimes_first("lm-eval")])

    def clean_args(self) -> dict[str, Any]:
        """Read the arguments as the library does."""
        try:
            return dict(parse_model_args(self.cleaned_data["args"]))
        except BadModel as error:
            raise forms.ValidationError(str(error.data["reason"])) from error

    def clean(self) -> dict[str, Any]:
        """Ask for the one field that the chosen source needs."""
        data = super().clean() or self.cleaned_data
        field, advice = NEEDED.get(str(data.get("source")), ("", ""))
        weightless = field == "bundled" and data.get("runtime") not in WEIGHTED
        if field and field not in self.errors and not data.get(field) and not weightless:
            self.add_error(field, advice)
        return data

    @property
    def location(self) -> str:
        """What names the model in its source."""
        return str(self.cleaned_data[NEEDED[self.cleaned_data["source"]][0]])


def _choose(form: forms.Form, name: str, choices: Iterable[tuple[str, Any]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - narrows a type
    field.choices = list(choices)


def _runtimes_first(first: str) -> list[str]:
    return sorted(runtime_names(), key=lambda name: (name != first, name))


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
    chosen: bool
    reason: str = ""
    """Why it cannot be chosen."""


def evaluator_choices(data: QueryDict | None, preset: str = "") -> list[EvaluatorChoice]:
    """Return every evaluator of the catalogue, the usable ones first."""
    chosen = set(data.getlist("evaluators")) if data is not None else {preset}
    latest: dict[str, EvaluatorVersion] = {}
    for version in EvaluatorVersion.objects.order_by("name", "-installed", "-id"):
        latest.setdefault(version.name, version)
    offered = []
    for version in latest.values():
        reason = version.problem if version.installed else "not installed any more"
        picked = version.name in chosen and not reason
        form = ParameterForm(version, data if picked else None)
        offered.append(EvaluatorChoice(version, form, picked, reason))
    return sorted(offered, key=lambda choice: (bool(choice.reason), choice.evaluator.name))
