"""Which serializers and kinds of compression a process starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celerykit.messages import serialization

if TYPE_CHECKING:
    from tests.unit.conftest import Run


def refused(**conf: Any) -> str:
    """Return why an app is refused, nothing if it is not."""
    app = Celery("refused", set_as_current=False)
    app.conf.update(conf)
    return "\n".join(map(str, serialization.refusals(app)))


@pytest.mark.parametrize(
    ("conf", "remedy"),
    [
        ({"task_serializer": "msgpack"}, "Add msgpack to the app's requirements"),
        ({"result_serializer": "auth"}, "call app.setup_security()"),
        ({"accept_content": ["json", "msgpack"]}, "Add msgpack to the app's requirements"),
        ({"event_serializer": "jsn"}, "Did you mean json?"),
        ({"task_compression": "brotli"}, "Add brotli to the app's requirements"),
        ({"result_compression": "bz2"}, "Did you mean bzip2?"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_brings_it(conf: dict[str, Any], remedy: str) -> None:
    """The worker would end in a traceback, or each job of it would."""
    (name,) = conf
    said = refused(**conf)
    assert said.startswith(f"{name}=") and remedy in said


@pytest.mark.parametrize(
    "conf",
    [
        {"task_serializer": "pickle", "accept_content": ["application/json", "pickle"]},
        *({"task_compression": name} for name in ("zlib", "gzip", "bzip2", "lzma", None)),
    ],
)
def test_what_works_is_let_through(conf: dict[str, Any]) -> None:
    """No word about what can be had; pickle is advised against, and an app's own choice."""
    assert refused(**conf) == ""


def test_a_process_ends_with_the_reason(celerykit: Run) -> None:
    """Exit code 78 and one line before anything is connected."""
    answer = celerykit("beat", CELERY_APP="compressed")
    assert answer.returncode == 78
    assert "task_compression=bz2" in answer.stderr and answer.stderr.count("\n") == 1
