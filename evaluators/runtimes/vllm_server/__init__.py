"""The agent around a vLLM server: starts it, sees tokens flow, and leaves nothing of it behind."""
