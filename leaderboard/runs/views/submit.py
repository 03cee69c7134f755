"""Submitting a model: the form, its checks, and what becomes of it."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from evaluators.errors import BadModel, BadParameter, InputError
from leaderboard.accounts.models import User
from leaderboard.catalog.services import register_model
from leaderboard.runs import services
from leaderboard.runs.forms import EvaluatorChoice, SubmissionForm, evaluator_choices
from leaderboard.runs.services import Submitted
from leaderboard.runs.tasks import hint


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def submit(request: HttpRequest) -> HttpResponse:
    """Offer the form; on POST check everything, write it down and go to the submission."""
    user = cast(User, request.user)
    data = request.POST if request.method == "POST" else None
    form = SubmissionForm(data, user=user)
    choices = evaluator_choices(data, preset=request.GET.get("evaluator", ""))
    if data is not None and _complete(form, choices):
        done = _submitted(form, choices, user)
        if done is not None:
            hint(done.created)
            return _follow(request, done)
    context = {"form": form, "choices": choices}
    status = 200 if data is None else 422
    return TemplateResponse(request, "runs/submit.html", context, status=status)


def _complete(form: SubmissionForm, choices: list[EvaluatorChoice]) -> bool:
    """Check every field that counts, so that all mistakes show at once."""
    valid = [form.is_valid(), *(choice.form.is_valid() for choice in choices if choice.chosen)]
    if not any(choice.chosen for choice in choices):
        form.add_error(None, "Choose at least one evaluator.")
        return False
    return all(valid)


def _submitted(
    form: SubmissionForm, choices: list[EvaluatorChoice], user: User
) -> Submitted | None:
    """Register the model and submit; what the library refuses is shown beside its field."""
    data = form.cleaned_data
    chosen = [choice for choice in choices if choice.chosen]
    try:
        model = register_model(
            source=data["source"],
            location=form.location,
            revision=data["revision"],
            runtime=data["runtime"],
            model_class=data["model_class"],
            args=data["args"],
            batch_size=data["batch_size"],
        )
        return services.submit(
            user=user,
            model=model,
            suite=data["suite"],
            evaluators=[(choice.evaluator.name, choice.form.values) for choice in chosen],
            limit=data["limit"],
            seed=data["seed"],
        )
    except InputError as error:
        _place(error, form, chosen)
        return None


def _place(error: InputError, form: SubmissionForm, chosen: list[EvaluatorChoice]) -> None:
    """Put a refusal beside the field that can mend it."""
    facts: dict[str, Any] = error.data
    if isinstance(error, BadParameter):
        for choice in chosen:
            if choice.evaluator.name == facts["owner"] and facts["name"] in choice.form.fields:
                choice.form.add_error(facts["name"], str(facts["reason"]))
                return
        if facts["owner"] == "submission" and facts["name"] in form.fields:
            form.add_error(facts["name"], str(facts["reason"]))
            return
    if isinstance(error, BadModel):
        form.add_error(None, f"The model cannot be used: {facts['reason']}")
        return
    form.add_error(None, str(error))


def _follow(request: HttpRequest, done: Submitted) -> HttpResponse:
    """Go to where the work can be followed; say which of it was done before."""
    known = [run for run in done.runs if run.pk in done.existing]
    if known:
        names = ", ".join(f"{run.evaluator.name} ({run.public_id})" for run in known)
        messages.info(request, f"Already there, so not run again: {names}.")
    if not done.created and len(known) == 1:
        return redirect("run", known[0].public_id)
    return redirect("submission", done.submission.public_id)
