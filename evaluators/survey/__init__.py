"""Surveys: every installed method on one model, in one table; taken up where they were left."""

from evaluators.survey.legs import Leg, Wanted, plan_legs
from evaluators.survey.rows import Row, rows_of
from evaluators.survey.run import Survey, run_survey
from evaluators.survey.tables import as_csv, as_json, as_markdown

__all__ = [
    "Leg",
    "Row",
    "Survey",
    "Wanted",
    "as_csv",
    "as_json",
    "as_markdown",
    "plan_legs",
    "rows_of",
    "run_survey",
]
