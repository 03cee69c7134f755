"""Keys of endpoints: stored for one host and one owner, opened only for the call to that host."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from evaluators.errors import InputError
from leaderboard.accounts import vault
from leaderboard.accounts.models import User
from leaderboard.catalog.endpoints import origin_of
from leaderboard.catalog.models import EndpointKey, LanguageModel

LONGEST = 1000
"""Characters of a key."""

TELLING = 12
"""Characters that a key must have for its last four to give little away."""


class KeyMissing(InputError):
    """An endpoint cannot be called, because its key is gone or may not be sent there.

    Args (as data): model, reason.
    """

    id = "endpoint-key-missing"

    def __str__(self) -> str:
        """Name the model and the reason, never the key."""
        return f"The key of {self.data['model']} cannot be used: {self.data['reason']}"


def store_key(*, user: User, origin: str, secret: str) -> EndpointKey:
    """Keep a key for one host; another one for the same host takes its place."""
    token = vault.seal(secret, purpose=origin)
    shown = secret[-4:] if len(secret) >= TELLING else ""
    with transaction.atomic():
        known = EndpointKey.objects.select_for_update().filter(user=user, origin=origin).first()
        if known is not None and _opens_to(known, secret):
            return known
        if known is None:
            return EndpointKey.objects.create(
                user=user, origin=origin, token=token, last_four=shown
            )
        # A new row: nothing that was made with the old key goes on under the name of the new one.
        models = list(known.models.values_list("pk", flat=True))
        known.delete()
        fresh = EndpointKey.objects.create(user=user, origin=origin, token=token, last_four=shown)
        LanguageModel.objects.filter(pk__in=models).update(key=fresh)
        return fresh


def delete_key(key: EndpointKey) -> None:
    """Forget a key; runs that still need it fail and say so."""
    key.delete()


def secret_of(model_id: int) -> str | None:
    """Open the key of a model for the call to its endpoint; None for what needs none.

    The only place where a key becomes readable: what comes back stays in memory.

    Raises:
        KeyMissing: The model needs a key and cannot have it.
    """
    model = LanguageModel.objects.select_related("key").get(pk=model_id)
    if not model.keyed:
        return None
    key = model.key
    if key is None or key.user_id != model.owner_id:
        raise KeyMissing(model=model.label, reason="it was deleted")
    try:
        secret = vault.unseal(key.token, purpose=origin_of(model.location))
    except vault.Unreadable as error:
        raise KeyMissing(model=model.label, reason=str(error)) from None
    EndpointKey.objects.filter(pk=key.pk).update(last_used_at=Now())
    return secret


def rotate_keys() -> tuple[int, list[str]]:
    """Encrypt every key anew with the first field key.

    Returns:
        How many there were, and the ids of those that no field key opens.
    """
    done, unreadable = 0, []
    for pk in EndpointKey.objects.values_list("pk", flat=True):
        with transaction.atomic():
            key = EndpointKey.objects.select_for_update().filter(pk=pk).first()
            if key is None:
                continue
            try:
                token = vault.reseal(key.token)
            except vault.Unreadable:
                unreadable.append(key.public_id)
                continue
            EndpointKey.objects.filter(pk=pk).update(token=token)
            done += 1
    return done, unreadable


def _opens_to(key: EndpointKey, secret: str) -> bool:
    try:
        return vault.unseal(key.token, purpose=key.origin) == secret
    except vault.Unreadable:
        return False
