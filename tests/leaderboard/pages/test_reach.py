"""Before a run is submitted its form says what it can find."""

import pytest
from django.urls import reverse

from evaluators.metrics import planned_effect

pytestmark = pytest.mark.django_db


def test_the_form_tells_what_numbers_of_samples_can_find(sign_in, owner):
    html = sign_in(owner).get(reverse("submit")).content.decode()
    assert "found 4 times in 5, in points: 26 with 50, 13 with 200, 6 with 1,000." in html
    assert [round(100 * planned_effect(n)) for n in (50, 200, 1000)] == [26, 13, 6]
