"""Management commands of `catalog`."""
