"""Files in and out: transcripts, results, and those that other tools read."""
