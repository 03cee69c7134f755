"""Data sets of solutions to be judged: what the YAML of critique tasks names."""
