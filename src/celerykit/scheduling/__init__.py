"""Beat's scheduling: due times, the file of the schedule, and the lock that lets one beat send."""
