"""Who uses the server."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """Somebody who may sign in; a model of our own, so that it can grow later."""
