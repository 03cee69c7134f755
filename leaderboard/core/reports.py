"""Reports of crashes, for developers' pages and for mails: without the secrets of users."""

from __future__ import annotations

from django.views.debug import ExceptionReporter

from leaderboard.core.logs import without_concealed


class Reporter(ExceptionReporter):
    """Django's own report, from which every secret that the process knows of is taken out.

    Django hides parameters only where debugging is off, and local variables only where they are
    marked, one by one.
    """

    def get_traceback_html(self) -> str:  # type: ignore[override] # nobody escapes it again
        """Return the report as a page."""
        return without_concealed(super().get_traceback_html())

    def get_traceback_text(self) -> str:  # type: ignore[override] # as above
        """Return the report as text."""
        return without_concealed(super().get_traceback_text())
