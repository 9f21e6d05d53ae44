"""The units of systemd, on machines."""
