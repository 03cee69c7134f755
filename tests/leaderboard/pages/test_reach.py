"""Before a run is submitted its form says what it can find, and what comes on top."""

import pytest
from django.urls import reverse

from evaluators.controls import MOST_SAMPLES
from evaluators.metrics import planned_effect

pytestmark = pytest.mark.django_db


def test_the_form_tells_what_numbers_of_samples_can_find(sign_in, owner):
    html = sign_in(owner).get(reverse("submit")).content.decode()
    assert "found 4 times in 5, in points: 26 with 50, 13 with 200, 6 with 1,000." in html
    assert [round(100 * planned_effect(n)) for n in (50, 200, 1000)] == [26, 13, 6]


def test_the_form_tells_who_pays_for_controls_behind_an_endpoint(sign_in, owner):
    html = sign_in(owner).get(reverse("submit")).content.decode()
    assert "Behind an endpoint they are calls that somebody pays for" in html
    assert f"up to {MOST_SAMPLES} per question" in html
    assert "cost little more than one" not in html
