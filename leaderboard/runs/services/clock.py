"""The database's clock: the only one that leases and deadlines are measured with."""

from __future__ import annotations

from django.db.models import DateTimeField, Func


class ClockTimestamp(Func):
    """The time now; unlike `now()` it does not stand still inside a transaction."""

    function = "clock_timestamp"
    template = "%(function)s()"
    output_field = DateTimeField()
