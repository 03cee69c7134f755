"""The fields that name a model: where it comes from, and how it is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.http import QueryDict

from evaluators.errors import BadModel
from evaluators.runtimes import bundled_models, parse_model_args, runtime_names
from leaderboard.accounts.models import User
from leaderboard.catalog.endpoints import read_endpoint
from leaderboard.catalog.keys import LONGEST
from leaderboard.catalog.models import EndpointKey, LanguageModel
from leaderboard.catalog.services import (
    ENDPOINT,
    MOST_CONCURRENT,
    clean_label,
    register_endpoint,
    register_model,
)

Source = LanguageModel.Source

NEEDED: Mapping[str, tuple[tuple[str, str], ...]] = {
    Source.BUNDLED: (("bundled", "Choose one of the bundled models."),),
    Source.HUB: (("repository", "Give the repository, such as org/name."),),
    Source.LOCAL: (("path", "Give the absolute path of the model's folder on this server."),),
    Source.ENDPOINT: (
        ("endpoint_url", "Give the URL that calls begin with, such as https://host/v1."),
        ("endpoint_model", "Give the model's name as the endpoint knows it."),
    ),
}
"""The fields that each source needs, and what to say when one is empty."""

WHO: Mapping[str, str] = {"critic": "Who criticises", "judge": "Who judges"}
"""What is asked of each role that another model may play; a role is the prefix of its form."""

WEIGHTED = frozenset({"lm-eval", "vllm"})
"""Bundled runtimes that load weights; others, such as `echo`, may do without."""

SECRETS = ("endpoint_key", "critic-endpoint_key", "judge-endpoint_key")
"""Names of fields whose values appear on no page and in no report."""


def may_use_paths(user: User) -> bool:
    """Tell whether a user may name paths of this server."""
    return user.is_staff or bool(getattr(settings, "REDRAFT_ALLOW_LOCAL_MODELS", False))


class ModelForm(forms.Form):
    """One model; with a prefix, the one that plays another role, which may be left out."""

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
    endpoint_url = forms.CharField(
        required=False,
        max_length=500,
        label="URL",
        widget=forms.URLInput(attrs={"placeholder": "https://host/v1"}),
        help_text="What calls begin with; OpenAI-compatible, https.",
    )
    endpoint_model = forms.CharField(
        required=False,
        max_length=200,
        label="Model name",
        help_text="As the endpoint knows it.",
    )
    endpoint_key = forms.RegexField(
        r"^[\x21-\x7e]+$",
        required=False,
        max_length=LONGEST,
        label="Key",
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Stored encrypted, sent to this host alone, never shown again.",
        error_messages={"invalid": "A key is one word of plain letters, digits and signs."},
    )
    endpoint_concurrency = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_CONCURRENT,
        initial=8,
        label="Calls at a time",
        help_text="Most requests that are open at once.",
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
        help_text="key=value, separated by commas, as lm-eval takes them; or JSON. "
        "Everybody can see them.",
    )
    batch_size = forms.IntegerField(
        min_value=1,
        max_value=256,
        initial=8,
        label="Batch size",
        help_text="Most samples generated at once.",
    )

    def __init__(self, data: QueryDict | None = None, *, user: User, prefix: str = "") -> None:
        super().__init__(data, label_suffix="", prefix=prefix or None)
        self.user = user
        self.optional = bool(prefix)
        self.paths = may_use_paths(user)
        if not self.paths:
            del self.fields["path"]
        sources = [s for s in Source.choices if s[0] != Source.LOCAL or self.paths]
        weights = [(name, name) for name in bundled_models()]
        _choose(self, "bundled", [*weights, ("", "none: the runtime needs no weights")])
        self.fields["bundled"].initial = weights[0][0] if weights else ""
        runtimes = _runtimes_first("lm-eval")
        _choose(self, "runtime", [(name, name) for name in runtimes])
        self.fields["runtime"].initial = next(iter(runtimes), "")
        if self.optional:
            sources = [("", "the model itself"), *sources]
            self.fields["source"].initial = ""
            self.fields["source"].label = WHO[prefix]
            for field in self.fields.values():
                field.required = False
        _choose(self, "source", sources)
        self._mention_keys()

    def _mention_keys(self) -> None:
        """Say for which hosts a key is stored, so that it need not be typed again."""
        kept = EndpointKey.objects.filter(user=self.user).values_list("origin", flat=True)
        if kept:
            field = self.fields["endpoint_key"]
            field.help_text += f" Leave it empty to use the one you stored for {', '.join(kept)}."

    def clean_args(self) -> dict[str, Any]:
        """Read the arguments as the library does."""
        try:
            return dict(parse_model_args(self.cleaned_data["args"]))
        except BadModel as error:
            raise forms.ValidationError(str(error.data["reason"])) from error

    def clean_endpoint_model(self) -> str:
        """Refuse names with characters that cannot be seen."""
        name = str(self.cleaned_data["endpoint_model"])
        if clean_label(name) != name:
            raise forms.ValidationError("It holds characters that cannot be seen.")
        return name

    def clean(self) -> dict[str, Any]:
        """Ask for the fields that the chosen source needs, and no others."""
        data = super().clean() or self.cleaned_data
        for name, field in self.fields.items():
            if data.get(name) in (None, "") and name not in {"bundled", "source"}:
                data[name] = field.initial or ""
        for field_name, advice in NEEDED.get(str(data.get("source")), ()):
            weightless = field_name == "bundled" and data.get("runtime") not in WEIGHTED
            if field_name not in self.errors and not data.get(field_name) and not weightless:
                self.add_error(field_name, advice)
        if data.get("source") == Source.ENDPOINT and data.get("endpoint_url"):
            try:
                read_endpoint(data["endpoint_url"])
            except BadModel as error:
                self.add_error("endpoint_url", f"This URL cannot be used: {error.data['reason']}.")
        return data

    @property
    def chosen(self) -> bool:
        """A model was named."""
        return bool(self.cleaned_data.get("source"))

    def register(self) -> LanguageModel:
        """Record the model for the user.

        Raises:
            InputError: It cannot be used; nothing was stored.
        """
        data = self.cleaned_data
        if data["source"] == Source.ENDPOINT:
            return register_endpoint(
                user=self.user,
                url=data["endpoint_url"],
                name=data["endpoint_model"],
                secret=data["endpoint_key"],
                concurrency=data["endpoint_concurrency"],
                args=data["args"] or {},
            )
        ((field, _),) = NEEDED[data["source"]]
        return register_model(
            source=data["source"],
            location=str(data[field]),
            revision=data["revision"],
            runtime=data["runtime"],
            model_class=data["model_class"],
            args=data["args"] or {},
            batch_size=data["batch_size"],
        )


def _choose(form: forms.Form, name: str, choices: Iterable[tuple[str, Any]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - narrows a type
    field.choices = list(choices)


def _runtimes_first(first: str) -> list[str]:
    names = [name for name in runtime_names() if name != ENDPOINT]
    return sorted(names, key=lambda name: (name != first, name))
