"""The child process around an lm-eval model class: the only place that sees torch."""
