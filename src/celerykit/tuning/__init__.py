"""The size that a worker gets at its start, and the one that is recommended."""
