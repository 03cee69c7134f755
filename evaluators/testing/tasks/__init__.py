"""Tasks for the echo runtime, offered like any other folder of tasks."""
