"""TLS options for clients of Redis: certificates are required and verified."""

from __future__ import annotations

from typing import Any


def checked(authority: str) -> dict[str, Any]:
    """Return the options with which a client of Redis verifies certificate and host name.

    :param authority: the file of certificates to trust beside the system's, or an empty string.
    """
    options = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return {**options, "ssl_ca_certs": authority} if authority else options
