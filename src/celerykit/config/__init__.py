"""The configuration of a process: its environment, its env files and its command line."""
