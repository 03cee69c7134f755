"""The runtime `endpoint`: somebody's OpenAI-compatible URL instead of a child process."""
