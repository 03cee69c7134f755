"""Pages about runs: submitting, following, reading samples, the state of the queue."""
