"""How a worker works: one event loop, one runtime at a time, many shards on it together."""
