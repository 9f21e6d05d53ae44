"""Brokers and result backends: their catalogue, their connections and the remedies for their refusals."""
