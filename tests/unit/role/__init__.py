"""What the role `celery` does on the controller and on hosts, without either."""
