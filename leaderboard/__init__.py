"""Redraft's server: submissions, workers, results and the board, on Django."""
