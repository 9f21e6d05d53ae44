"""Faults under load, reconciled against the ledger."""
