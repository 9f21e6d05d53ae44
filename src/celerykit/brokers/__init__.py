"""Brokers and result backends: which there are, how they are reached, and what they say when they refuse."""
