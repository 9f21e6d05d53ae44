"""The plan of a host: the roles give their variables and the host's facts, and carry out the answer.

It runs on the machine that runs Ansible, where there is no Celery, and is no part of the kit on a host.
"""
