"""The benchmark: what the kit costs and gains, always beside what it is compared with."""
