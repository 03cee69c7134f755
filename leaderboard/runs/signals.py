"""What other apps may listen to, so that runs need not know them."""

from django.dispatch import Signal

run_finished = Signal()
"""A run reached a state that never changes; sent after the commit with `run_id`.

Receivers must be quick: they run in the thread that commits everybody's results."""

swept = Signal()
"""The sweeper has been round; listeners mend what they missed."""
