"""Grades answers to mathematical questions, in a process of its own and within a time limit."""

from evaluators.grading.maths import Verdict, extract
from evaluators.grading.process import LIMIT, Grader, shared

__all__ = ["LIMIT", "Grader", "Verdict", "extract", "shared"]
