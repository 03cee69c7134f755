"""The server half of every runtime of ours: HTTP, batching and the control channel, without torch."""
