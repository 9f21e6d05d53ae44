"""Two producers in one process; only the environment says where the broker is."""

from celery import Celery

for name in ("first", "second"):
    app = Celery(name, set_as_current=False)
    with app.connection_for_write() as connection:
        print(connection.as_uri(include_password=True), connection.transport_options["visibility_timeout"])
