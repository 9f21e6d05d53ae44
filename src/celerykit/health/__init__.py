"""The health of a process: its signs of life, the state file that they are in, and the probe that reads it."""
