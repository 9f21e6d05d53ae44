"""The plan of a host, as the machine that runs Ansible makes it."""
