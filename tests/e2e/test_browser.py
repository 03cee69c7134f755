"""From logging in to reading a flipped answer, in a real browser on a real server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", e => window.violations.push(
  `${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
"""
SIZES = {"wide": (1280, 900), "narrow": (390, 844), "least": (360, 740)}


class Reader:
    """Somebody with a browser: notes every policy violation, script error and failed request."""

    def __init__(self, context, url: str) -> None:
        self.trouble: list[str] = []
        self.url = url
        self.page = context.new_page()
        self.page.add_init_script(VIOLATIONS)
        self.page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        self.page.on("console", self._note)

    def _note(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.trouble.append(f"console: {message.text}")

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def log_in(self, password: str) -> None:
        self.go("/submit/")
        self.page.get_by_label("User name").fill("admin")
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/submit/")

    def submit(self, evaluators: list[str], *, suite: str, limit: int, echo: bool = True) -> None:
        page = self.page
        self.go("/submit/")
        page.get_by_label("Suite", exact=True).select_option(suite)
        page.get_by_label("Samples per task").fill(str(limit))
        if echo:
            model = page.get_by_role("group", name="Model")
            model.get_by_label("Bundled model").select_option("")
            model.get_by_text("Runtime", exact=True).first.click()
            model.get_by_label("Runtime", exact=True).select_option("echo")
            model.get_by_label("Model class").fill("echo")
        for name in evaluators:
            page.locator(f'input[name="evaluators"][value="{name}"]').check()
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/submissions/*/")

    def wait_for_runs(self, number: int, *, minutes: int) -> None:
        """Wait until so many runs of the submission on screen are complete."""
        done = self.page.locator("#runs .state.done")
        done.nth(number - 1).wait_for(timeout=minutes * 60_000)

    def find_on_board(self, suite: str, name: str):
        """Load the board until the row is there: the sweeper adds it after the run has ended."""
        row = self.page.locator("table.board tbody tr:has(.fig)", has_text=name).first
        for _ in range(60):
            self.go(f"/?suite={suite}")
            if row.count():
                break
            self.page.wait_for_timeout(500)
        return row

    def check(self) -> None:
        self.trouble += self.page.evaluate("window.violations")
        assert self.trouble == []

    def fits(self) -> None:
        """The page itself never scrolls sideways; only tables do, in their own frame."""
        sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        wide, there = self.page.evaluate(sizes)
        assert wide <= there, self.page.url


@pytest.fixture
def reader(browser, request) -> Iterator[Reader]:
    site = request.getfixturevalue(getattr(request, "param", "site"))
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Reader(context, site.url)
    found.log_in(site.password)
    yield found
    context.close()


def test_from_submission_to_a_flipped_answer(reader: Reader, browser, tmp_path: Path) -> None:
    page = reader.page
    reader.submit(["single_pass", "reask"], suite="flips", limit=40)
    assert page.locator("#runs tbody tr").count() == 2

    # The table follows the work by itself, without a reload.
    reader.wait_for_runs(2, minutes=2)
    reader.check()

    row = reader.find_on_board("flips", "reask")
    figures = row.locator(".fig")
    assert figures.count() == 11
    assert "n 40" in figures.first.inner_text()

    # Sorting works in place, is in the address, and leaves the keyboard where it was.
    page.get_by_role("link", name="CS", exact=True).press("Enter")
    page.wait_for_url("**/*sort=cs*")
    page.locator("th[aria-sort='descending'] #by-cs:focus").wait_for()
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith("CS")
    reader.check()

    row.get_by_role("link").first.click()
    page.locator(".flips .ci-cell a").first.click()
    page.wait_for_url("**/samples/?task=echo_flips&flip=ci")
    page.locator("tbody th a").first.click()
    verdicts = page.locator(".graded .verdict")
    assert [verdicts.nth(i).inner_text() for i in range(2)] == ["right", "wrong"]
    page.locator("details summary").first.click()
    reader.check()
    _look(reader, browser, page.url, tmp_path)


def _look(reader: Reader, browser, sample: str, tmp_path: Path) -> None:
    """Take every kind of page at two widths in both colour schemes."""
    folder = Path(os.environ.get("REDRAFT_SCREENSHOTS") or tmp_path)
    run = re.search(r"/runs/run_\w+/", sample).group()
    reader.page.goto(reader.url + run)
    model = reader.page.locator(".crumbs a").nth(1).get_attribute("href")
    shots = {"board": "/?suite=flips", "model": model, "run": run, "samples": f"{run}samples/",
             "transcript": sample.removeprefix(reader.url), "submit": "/submit/",
             "status": "/status/", "methods": "/methods/", "about": "/about/",
             "keys": "/keys/", "method": "/methods/review_improve/",
             "compare": f"/compare/?run={run.split('/')[2]}",
             "empty": "/?suite=realcritic"}  # fmt: skip
    state = reader.page.context.storage_state()
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                storage_state=state,
            )
            looker = Reader(context, reader.url)
            for name, path in shots.items():
                looker.go(path)
                looker.fits()
                looker.check()
                looker.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
            context.close()


def test_the_form_asks_for_what_the_source_needs(reader: Reader) -> None:
    page = reader.page
    reader.go("/submit/")
    model, critic = (page.get_by_role("group", name=name) for name in ("Model", "Critic"))
    assert model.get_by_label("Bundled model").is_visible()
    assert critic.get_by_label("Bundled model").is_hidden()
    model.get_by_label("Where the model comes from").select_option("endpoint")
    assert model.get_by_label("Bundled model").is_hidden()
    model.get_by_label("URL").fill("https://127.0.0.1/v1")
    model.get_by_label("Model name").fill("tiny")
    model.get_by_label("Key").fill("sk-canary-in-the-browser")
    page.locator('input[name="evaluators"][value="reask"]').check()
    reader.check()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_load_state()
    assert "127.0.0.1 is not a public address" in model.locator(".error").inner_text()
    assert model.get_by_label("URL").input_value() == "https://127.0.0.1/v1"
    assert model.get_by_label("Key").input_value() == ""
    assert "sk-canary" not in page.content()
    reader.fits()


def test_works_without_scripts(site, browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    reader = Reader(context, site.url)
    reader.log_in(site.password)
    reader.submit(["reask"], suite="flips", limit=8)
    page = reader.page
    for _ in range(120):
        page.reload()
        if page.locator("#runs .state.done").count():
            break
        page.wait_for_timeout(500)
    page.get_by_role("link", name="transcripts").first.click()  # others are of its controls
    assert page.locator("tbody tr").count() == 8
    assert reader.trouble == []
    context.close()


def test_a_method_stands_beside_its_controls(reader: Reader) -> None:
    """Nobody submits the controls: they come by themselves, and the gain over them stands there."""
    page = reader.page
    reader.submit(["review_improve"], suite="flips", limit=24)
    reader.wait_for_runs(1, minutes=2)
    for _ in range(120):
        row = reader.find_on_board("flips&rows=methods&sort=over_sc_calls", "review_improve")
        gain = row.locator(".fig").nth(2)
        if "against" in gain.inner_text():
            break
        page.wait_for_timeout(500)
    assert "n 24" in gain.inner_text()
    # Columns are chosen in a form, and the choice is in the address.
    page.locator(".picker summary").click()
    page.get_by_label("Over greedy").check()
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**/*column=over_greedy*")
    assert page.locator("thead .num").all_inner_texts()[2].startswith("Over greedy")
    # The method's own table names each control and leads to both, side by side.
    row.get_by_role("link").first.click()
    page.get_by_role("link", name="self_consistency@3").first.click()
    page.wait_for_url("**/compare/?run=*")
    reader.check()


@pytest.mark.parametrize("reader", ["plugin_site"], indirect=True)
def test_a_strangers_plugin_reaches_the_board(reader: Reader) -> None:
    page = reader.page
    reader.go("/methods/are_you_sure/")
    assert "redraft-example 0.1.0" in page.locator(".facts").inner_text()
    reader.go("/submit/")
    field = page.locator('input[name="p-are_you_sure-doubt"]')
    assert field.input_value() == "Are you sure?"
    reader.submit(["are_you_sure"], suite="flips", limit=12)
    reader.wait_for_runs(1, minutes=2)
    row = reader.find_on_board("flips", "are_you_sure")
    assert row.locator(".fig").count() == 11
    reader.check()


@pytest.mark.model
def test_a_real_model_reaches_the_board(reader: Reader) -> None:
    reader.submit(["reask"], suite="demo", limit=2, echo=False)
    reader.wait_for_runs(1, minutes=8)
    row = reader.find_on_board("demo", "smollm2")
    assert "n 4" in row.locator(".fig").first.inner_text()
    reader.check()
