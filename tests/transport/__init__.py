"""Tests of the transport for Redis: what it promises of each job, on a real server."""
