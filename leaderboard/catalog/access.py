"""Who may see what can be evaluated: the only doors through which views fetch it."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.http import Http404
from yarl import URL

from leaderboard.accounts.models import User
from leaderboard.catalog.endpoints import egress_policy
from leaderboard.catalog.models import EndpointKey, EvaluatorVersion, LanguageModel

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


def access_key(user: Visitor, public_id: str) -> EndpointKey:
    """Return one of the visitor's own keys; not even staff has a door to another's.

    Raises:
        Http404: They have none of that name.
    """
    own = EndpointKey.objects.filter(user_id=user.pk or 0, public_id=public_id).first()
    if own is None:
        raise Http404("You have no such key.")
    return own


def may_see_location(user: Visitor, model: LanguageModel) -> bool:
    """Tell whether a visitor may read where a model lies.

    Paths of this server are for staff, endpoints on hosts that an admin allows by name for their
    owner besides; everything else is public.
    """
    if user.is_staff or (model.owner_id is not None and model.owner_id == user.pk):
        return True
    if model.source == LanguageModel.Source.LOCAL:
        return False
    return model.source != LanguageModel.Source.ENDPOINT or _is_public(model.location)


def _is_public(url: str) -> bool:
    return not egress_policy().trusts(URL(url))
