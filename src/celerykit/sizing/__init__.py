"""The size of a pool: limits of its machine, measurements of its jobs, and the arithmetic on both."""
