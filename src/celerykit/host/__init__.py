"""The host: the state of its units and pools, and their restart."""
