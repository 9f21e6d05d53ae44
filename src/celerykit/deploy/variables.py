"""The variables of the role ``celery``, and the facts of the host, as the role hands them over."""

from __future__ import annotations

from typing import Any, TypedDict


class Pool(TypedDict, total=False):
    """One item of ``celery_workers``."""

    name: str
    replicas: int | str
    options: dict[str, Any] | None
    limits: dict[str, Any]


class Variables(TypedDict):
    """What the plan of a host follows from; a name is that of the variable without ``celery_``."""

    files: str
    """The folder of the role with the kit, and with the files of each service manager."""
    header: str
    """What begins each file that the plan writes."""
    service_mgr: str
    """The program of PID 1, as Ansible names it."""
    service_manager: str
    managers: list[str]
    """The service managers that the role knows on this family of systems."""
    python: str
    python_version: str
    tags: list[str]
    skip_tags: list[str]
    instance: str
    app: str
    app_source: dict[str, Any]
    broker: str
    broker_url: str
    results: str
    result_backend: str
    workers: list[Pool]
    replicas: dict[str, Any]
    """What the host advises for each pool with ``replicas: auto``; a host without an app gives no number."""
    beat: bool
    beat_options: dict[str, Any]
    flower: bool
    flower_options: dict[str, Any]
    stop_timeout: Any
    environment: dict[str, Any]
    app_env_file: str
    tls_ca: str
    kit_source: str
    ca_bundle: str
    index_url: str
    wheelhouse: str
