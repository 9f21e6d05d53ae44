"""Everything that judges a configuration, an app or a host, and starts nothing."""
