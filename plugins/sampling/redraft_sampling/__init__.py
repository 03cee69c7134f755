"""Methods that draw answers independently: the controls of every correction method."""
