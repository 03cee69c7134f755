"""Who may see what can be evaluated: the only doors through which views fetch it."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel

Visitor = User | AnonymousUser


def access_model(user: Visitor, public_id: str) -> LanguageModel:
    """Return a model; everybody may know of it.

    Raises:
        Http404: There is none.
    """
    model = LanguageModel.objects.filter(public_id=public_id).first()
    if model is None:
        raise Http404("There is no such model.")
    return model


def access_evaluator(user: Visitor, name: str) -> list[EvaluatorVersion]:
    """Return all versions of an evaluator, the installed one first, then the latest.

    Raises:
        Http404: None was ever installed here.
    """
    versions = list(EvaluatorVersion.objects.filter(name=name).order_by("-installed", "-id"))
    if not versions:
        raise Http404("No evaluator of that name was ever installed here.")
    return versions


def may_see_location(user: Visitor, model: LanguageModel) -> bool:
    """Tell whether a visitor may read where a model lies: paths of this server are for staff."""
    return model.source != LanguageModel.Source.LOCAL or bool(user.is_staff)
