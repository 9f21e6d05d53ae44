"""The host: its units and pools, how they are and how they are restarted."""
