"""Management commands of `boards`."""
