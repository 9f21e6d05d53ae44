"""Tests of the images and the stack: what survives, what is refused, what is hidden."""
