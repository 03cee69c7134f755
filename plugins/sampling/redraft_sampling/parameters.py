"""Parameters that methods of sampling share, so that they draw the same samples."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

Samples = Annotated[int, Ge(2), Le(64)]
"""How many answers a method draws."""

Temperature = Annotated[float, Gt(0), Le(2)]
"""Of every drawn answer; equal temperatures give equal draws to all methods."""
