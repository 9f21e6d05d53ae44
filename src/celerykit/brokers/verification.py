"""How TLS is spoken to Redis: certificates are required and checked."""

from __future__ import annotations

from typing import Any


def checked(authority: str) -> dict[str, Any]:
    """Return the options of a client of Redis that checks certificate and host name.

    :param authority: the file of certificates to trust beside the system's, if there is one.
    """
    options = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return {**options, "ssl_ca_certs": authority} if authority else options
