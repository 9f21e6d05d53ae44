"""What beat sends and when: due times, the file of its schedule, and the one beat that may send."""
