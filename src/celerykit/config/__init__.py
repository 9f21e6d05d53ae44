"""What a process is told: by its environment, by env files and on its command line."""
