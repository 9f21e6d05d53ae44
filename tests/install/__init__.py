"""Apps as people give them, installed."""
