"""Methods in which a model goes over its own answer."""
