"""Settings in a plain module."""

worker_prefetch_multiplier = 7
task_reject_on_worker_lost = False
task_time_limit = 120
beat_sync_every = 9
broker_transport_options = {"socket_timeout": 3.0, "own": "kept"}
