"""How messages are written: the serializers and kinds of compression of an app, what they take and what they risk."""

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
    # Celery's own extra of that name installs another package.
    "zstd": "Add backports.zstd to the app's requirements, up to Python 3.13",
}
PICKLE = {"pickle", "application/x-python-serialize"}


def refusals(app: Any) -> Iterator[Finding]:
    """Yield the serializers and kinds of compression that ``app`` names and that cannot be had here."""
    for name in (*SERIALIZERS, *ACCEPTED):
        for value in _listed(app.conf[name]):
            if "/" not in value and not _works(_serialize, value):
                yield _cannot_be_had(name, value, "serializer", _serializers())
    for name in COMPRESSION:
        for value in _listed(app.conf[name]):
            if not _works(_compress, value):
                yield _cannot_be_had(name, value, "compression", _compressions())


def advice(app: Any, where: str) -> Iterator[Finding]:
    """Yield by what ``app`` would run what a stranger sends, or write what nobody reads."""
    for name in ACCEPTED:
        accepted = _listed(app.conf[name])
        if PICKLE & set(accepted):
            problem = "whoever reaches the broker can run any code in the worker"
            yield Finding(name, ",".join(accepted), where, problem, "Accept json only")
    for name, reader, problem in (
        ("task_serializer", "accept_content", "a worker with these settings buries each job that this app sends"),
        ("result_serializer", _accepts_results(app), "nobody with these settings can read a result"),
    ):
        value, accepted = app.conf[name], _listed(app.conf[reader])
        if value in PICKLE:
            problem = (
                "what is to read it must accept pickle, by which whoever reaches the broker can run any code there"
            )
            yield Finding(name, value, where, problem, "Use json")
        elif not {value, _content_type(value)} & set(accepted):
            remedy = f"Add {value} to {reader}, which is {','.join(accepted)}"
            yield Finding(name, value, where, problem, remedy)


def _cannot_be_had(name: str, value: str, kind: str, known: list[str]) -> Finding:
    near = option_names.closest(value, known)
    remedy = REMEDIES.get(value) or (f"Did you mean {near}?" if near else f"Use one of {', '.join(known)}")
    return Finding(name, value, "the app's own settings", f"there is no such {kind} here", remedy)


def _accepts_results(app: Any) -> str:
    return "result_accept_content" if app.conf.result_accept_content else "accept_content"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _works(use: Callable[[str], Any], value: str) -> bool:
    try:
        use(value)
    except Exception:  # each raises its own where its library is missing
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
