"""Every broker that the kit stands up, under the same faults."""
