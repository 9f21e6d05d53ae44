"""The serializers and compressions of an app: their availability and their risks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celerykit.config import option_names
from celerykit.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERIALIZERS = ("task_serializer", "result_serializer", "event_serializer")
ACCEPTED = ("accept_content", "result_accept_content")
COMPRESSION = ("task_compression", "result_compression")
REMEDIES = {
    "yaml": "Add PyYAML to the app's requirements",
    "msgpack": "Add msgpack to the app's requirements",
    "auth": "Add cryptography to the app's requirements, and call app.setup_security() after its settings",
    "brotli": "Add brotli to the app's requirements",
    # Celery's extra of this name installs another package.
    "zstd": "Add backports.zstd to the app's requirements, up to Python 3.13",
}
PICKLE = {"pickle", "application/x-python-serialize"}


def refusals(app: Any) -> Iterator[Finding]:
    """Yield a finding for each serializer or compression of ``app`` that is not available here."""
    for name in (*SERIALIZERS, *ACCEPTED):
        for value in _listed(app.conf[name]):
            if "/" not in value and not _works(_serialize, value):
                yield _missing(name, value, "serializer", _serializers())
    for name in COMPRESSION:
        for value in _listed(app.conf[name]):
            if not _works(_compress, value):
                yield _missing(name, value, "compression", _compressions())


def advice(app: Any, where: str) -> Iterator[Finding]:
    """Yield the settings by which ``app`` runs a stranger's code, or writes messages that no worker accepts."""
    for name in ACCEPTED:
        accepted = _listed(app.conf[name])
        if PICKLE & set(accepted):
            problem = "anybody who reaches the broker can run any code in the worker"
            yield Finding(name, ",".join(accepted), where, problem, "Accept json only")
    for name, reader, problem in (
        ("task_serializer", "accept_content", "a worker with these settings dead-letters each job that this app sends"),
        ("result_serializer", _accepts_results(app), "nobody with these settings can read a result"),
    ):
        value, accepted = app.conf[name], _listed(app.conf[reader])
        if value in PICKLE:
            problem = "its readers must accept pickle, so anybody who reaches the broker can run any code there"
            yield Finding(name, value, where, problem, "Use json")
        elif not {value, _content_type(value)} & set(accepted):
            remedy = f"Add {value} to {reader}, which is {','.join(accepted)}"
            yield Finding(name, value, where, problem, remedy)


def _missing(name: str, value: str, kind: str, names: list[str]) -> Finding:
    near = option_names.closest(value, names)
    remedy = REMEDIES.get(value) or (f"Did you mean {near}?" if near else f"Use one of {', '.join(names)}")
    return Finding(name, value, "the app's own settings", f"there is no such {kind} here", remedy)


def _accepts_results(app: Any) -> str:
    return "result_accept_content" if app.conf.result_accept_content else "accept_content"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _works(use: Callable[[str], Any], value: str) -> bool:
    try:
        use(value)
    except Exception:  # each raises its own error for a missing library
        return False
    return True


def _serialize(name: str) -> None:
    from kombu.serialization import dumps

    dumps({}, serializer=name)  # type: ignore[no-untyped-call]


def _compress(name: str) -> None:
    from kombu.compression import compress

    compress(b"", name)  # type: ignore[no-untyped-call]


def _content_type(name: str) -> str:
    from kombu.serialization import registry

    return str(registry.name_to_type.get(name, name))


def _serializers() -> list[str]:
    from kombu.serialization import registry

    return sorted(name for name in registry.name_to_type if _works(_serialize, name))


def _compressions() -> list[str]:
    return [name for name in ("brotli", "bzip2", "gzip", "lzma", "zlib", "zstd") if _works(_compress, name)]
