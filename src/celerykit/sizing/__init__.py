"""How large a pool should be: what its machine has, what its jobs were seen to do, and the arithmetic on both."""
