"""Shared protocols of critique: how a model's verdict on an answer is read."""

from evaluators.critique.verdicts import Judged, parse_verdict

__all__ = ["Judged", "parse_verdict"]
