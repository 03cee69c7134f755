"""The server half of every runtime of ours: HTTP, batching and control channel, without torch."""
