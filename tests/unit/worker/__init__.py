"""Tests of what the kit adds to a running worker."""
