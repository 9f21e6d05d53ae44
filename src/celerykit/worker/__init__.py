"""What the kit adds to a running worker: signs of life, a bounded stop, bounded deliveries."""
