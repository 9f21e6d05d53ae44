"""The test rig: real brokers and workers in containers, a real client, and a ledger that outlives them all."""
