"""The certificates of one test's servers, made as the stack makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit.credentials import certificates

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = ("redis", "rabbitmq", "postgresql")
READ = 0o644
"""Servers run as users of their own."""


class Authority:
    """Vouches for servers whose secrets are in folders of their names."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.file = folder / "celery" / "ca.pem"
        for name in ("authority", "celery", *SERVERS):
            (folder / name).mkdir()
        self.issue()

    def issue(self, *steps: str) -> None:
        """Do what ``celerykit certificates`` does."""
        certificates.write(self._folder, dict.fromkeys(SERVERS, ()), *steps)
        for name in SERVERS:
            (self._folder / name / "server.pem").chmod(READ)
            (self._folder / name / "ca.pem").chmod(READ)
        self.file.chmod(READ)

    def trust(self, app: Any) -> None:
        """Let a client outside believe the servers, and nobody else."""
        checked = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(self.file)}
        on_rabbitmq = app.conf.broker_url.startswith("amqps")
        app.conf.broker_use_ssl = {"ca_certs": str(self.file)} if on_rabbitmq else checked
        app.conf.redis_backend_use_ssl = checked
