"""Management commands of `runs`."""
