"""Submitting a model: the form, its checks, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from evaluators.errors import BadModel, BadParameter, BadTask, InputError, NotInstalled
from leaderboard.accounts.models import User
from leaderboard.catalog.forms import SECRETS, WHO, ModelForm
from leaderboard.catalog.models import LanguageModel
from leaderboard.core.logs import conceal
from leaderboard.runs import services
from leaderboard.runs.forms import EvaluatorChoice, SubmissionForm, evaluator_choices
from leaderboard.runs.services import Submitted
from leaderboard.runs.tasks import hint


@sensitive_post_parameters(*SECRETS)
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def submit(request: HttpRequest) -> HttpResponse:
    """Offer the form; on POST check everything, write it down and go to the submission."""
    user = cast(User, request.user)
    data = request.POST if request.method == "POST" else None
    for name in SECRETS:
        conceal(request.POST.get(name, "").strip())
    page = _Page.read(data, user, preset=request.GET)
    if data is not None and page.complete():
        done = page.submit(user)
        if done is not None:
            hint(done.created)
            return _follow(request, done)
    context = {"form": page.form, "model": page.model, "others": page.others}
    return TemplateResponse(
        request,
        "runs/submit.html",
        context | {"choices": page.choices, "wrong": page.wrong},
        status=200 if data is None else 422,
    )


@dataclass(slots=True)
class _Page:
    """The forms that make up the page."""

    model: ModelForm
    others: dict[str, ModelForm]
    """By role."""
    form: SubmissionForm
    choices: list[EvaluatorChoice]

    @classmethod
    def read(cls, data: QueryDict | None, user: User, *, preset: QueryDict) -> _Page:
        """Fill the forms with what was sent; before that, with what the link to them names."""
        return cls(
            ModelForm(data, user=user),
            {role: ModelForm(data, user=user, prefix=role) for role in WHO},
            SubmissionForm(data, suite=preset.get("suite", "")),
            evaluator_choices(data, preset=preset.get("evaluator", "")),
        )

    @property
    def chosen(self) -> list[EvaluatorChoice]:
        """The evaluators that were ticked."""
        return [choice for choice in self.choices if choice.chosen]

    @property
    def wrong(self) -> bool:
        """Something is marked as wrong."""
        return any(form.errors for form in self._forms if form.is_bound)

    @property
    def _forms(self) -> list[Form]:
        return [
            self.model,
            *self.others.values(),
            self.form,
            *(form for choice in self.chosen for form in (choice.form, choice.words)),
        ]

    def complete(self) -> bool:
        """Check every field that counts, so that all mistakes show at once."""
        valid = [form.is_valid() for form in self._forms]
        if not self.chosen:
            self.form.add_error(None, "Choose at least one evaluator.")
        return all(valid) and bool(self.chosen)

    def submit(self, user: User) -> Submitted | None:
        """Register the models and submit, all or nothing; a refusal is shown beside its field."""
        data = self.form.cleaned_data
        try:
            with transaction.atomic():
                model = _registered(self.model)
                others = {
                    role: _registered(form) for role, form in self.others.items() if form.chosen
                }
                return services.submit(
                    user=user,
                    model=model,
                    suite=data["suite"],
                    evaluators=[(c.evaluator.name, c.form.values) for c in self.chosen],
                    limit=data["limit"],
                    seed=data["seed"],
                    critic=others.get("critic"),
                    judge=others.get("judge"),
                    replicates=data["replicates"],
                    controls=data["controls"],
                    packs={c.evaluator.name: c.words.chosen for c in self.chosen},
                )
        except _Refused:
            return None
        except InputError as error:
            self._place(error)
            return None

    def _place(self, error: InputError) -> None:
        """Put a refusal beside the field that can mend it."""
        facts: dict[str, Any] = error.data
        match error:
            case BadParameter() if form := self._form_of(facts["owner"], facts["name"]):
                form.add_error(facts["name"], str(facts["reason"]))
            case BadParameter(data={"owner": "submission", "name": str(role)}) if role in WHO:
                self.others[role].add_error("source", f"{facts['reason']}.".capitalize())
            case BadParameter(data={"owner": "prompts", "value": pack}):
                self._blame_pack(str(pack), str(facts["reason"]))
            case NotInstalled(data={"kind": "prompt pack", "name": pack}):
                self._blame_pack(str(pack), str(error))
            case BadTask():
                self.form.add_error("suite", str(error))
            case BadModel():
                self.form.add_error(None, f"{facts['model']} cannot be used: {facts['reason']}.")
            case _:
                self.form.add_error(None, str(error))

    def _blame_pack(self, pack: str, reason: str) -> None:
        """Mark the evaluators that were to ask in the words of a pack."""
        for choice in self.chosen:
            if choice.words.chosen == pack:
                choice.words.add_error("pack", f"It cannot be used: {reason}")

    def _form_of(self, owner: str, name: str) -> Form | None:
        forms: dict[str, Form] = {choice.evaluator.name: choice.form for choice in self.chosen}
        form = self.form if owner == "submission" else forms.get(owner)
        return form if form is not None and name in form.fields else None


class _Refused(Exception):
    """A model was refused, and the form says why."""


def _registered(form: ModelForm) -> LanguageModel:
    try:
        return form.register()
    except InputError as error:
        reason = error.data.get("reason", error) if isinstance(error, BadModel) else error
        form.add_error(None, f"The model cannot be used: {reason}.")
        raise _Refused from error


def _follow(request: HttpRequest, done: Submitted) -> HttpResponse:
    """Go to where the work can be followed; say which of it was done before."""
    known = [run for run in done.runs if run.pk in done.existing]
    if known:
        names = ", ".join(f"{run.evaluator.name} ({run.public_id})" for run in known)
        messages.info(request, f"Already there, so not run again: {names}.")
    if not done.created and len(known) == 1:
        return redirect("run", known[0].public_id)
    return redirect("submission", done.submission.public_id)
