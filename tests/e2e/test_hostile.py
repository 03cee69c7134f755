"""More than 500 hostile texts in a real browser: none runs, none loads anything, none hides."""

from __future__ import annotations

import re

import pytest

from tests.e2e.hostile import CASES
from tests.e2e.test_browser import Reader

pytestmark = pytest.mark.browser

TRAP = "window.pwned = () => { window.violations.push('a script of a text ran'); };"
HIDDEN = "[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u0001-\u0008\u007f\u009b\U000e0041]"


def test_nothing_of_a_text_runs(site, browser) -> None:
    assert len(CASES) >= 500
    script = "from tests.e2e.hostile import fill; print(*fill())"
    pages = site.manage("shell", "--no-imports", "-c", script).split()
    assert len(pages) >= 30
    context = browser.new_context()
    reader = Reader(context, site.url)
    reader.page.add_init_script(TRAP)
    asked: list[str] = []
    reader.page.on("request", lambda request: asked.append(request.url))
    for path in pages:
        reader.go(path)
        html = reader.page.content()
        assert not re.search(HIDDEN, html), path
        assert len(html.encode()) < 500_000, path
        assert (
            reader.page.locator("bdi *:not(.codepoint), pre *:not(bdi, .codepoint, code)").count()
            == 0
        )
        reader.fits()
        reader.check()
    assert [url for url in asked if not url.startswith(site.url)] == []
    context.close()
