"""What is left of a chord whose body was refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celerykit.worker.consequences import Refused
from celerykit.worker.publishing import Cleanup, Part

BACKEND = SimpleNamespace(_ensure_retryable=lambda call, *arguments: call(*arguments))


def after(end: BaseException | None, claim: bytes) -> tuple[list[Any], dict[str, bytes]]:
    """Return what was cleaned up, and what is left of the claim, after the body was sent or was not."""
    cleaned: list[Any] = []
    left = {"claim": claim}
    client = SimpleNamespace(get=left.get, delete=left.pop)
    cleanup = Cleanup(BACKEND, lambda keys, **_: cleaned.append(keys))

    def send() -> None:
        try:
            if end is not None:
                raise end
        finally:  # as Celery has it
            cleanup(keys=["claim", "parts"], args=["mine", 300], client=client)

    if end is None:
        send()
    else:
        with pytest.raises(type(end)):
            send()
    return cleaned, left


@pytest.mark.parametrize("end", [None, ValueError()])
def test_a_chord_is_cleaned_up_as_ever(end: BaseException | None) -> None:
    """With its body sent, or failed for good."""
    assert after(end, b"mine") == ([["claim", "parts"]], {"claim": b"mine"})


@pytest.mark.parametrize(("claim", "left"), [(b"mine", {}), (b"another's", {"claim": b"another's"})])
def test_a_chord_whose_body_was_refused_can_be_ended_anew(claim: bytes, left: dict[str, bytes]) -> None:
    """Its parts stay, and nobody waits for the end of a claim."""
    assert after(Refused(), claim) == ([], left)


@pytest.mark.parametrize(("end", "left"), [(Refused(), {"size": b"1"}), (ValueError(), {"claim": b"mine"})])
def test_a_chord_whose_errbacks_were_refused_can_fail_anew(end: BaseException, left: dict[str, bytes]) -> None:
    """Its size stays and its claim goes; Celery deletes the size whatever came of the errbacks."""
    kept = {"claim": b"mine", "size": b"1"}
    client = SimpleNamespace(get=kept.get, delete=kept.pop)
    part = Part(BACKEND, lambda **_: None)
    part(keys=["parts", "claim"], args=["part", "mine"], client=client)
    delete = part.sparing(client.delete, client)

    def fail() -> None:
        try:
            raise end
        finally:  # as Celery has it
            delete("size")

    with pytest.raises(type(end)):
        fail()
    assert kept == left
