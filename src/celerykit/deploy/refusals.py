"""Why a host cannot be deployed as the variables say."""

from __future__ import annotations


class Refusals:
    """The reasons, each with the variable, its value, and the remedy."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, variable: str, problem: str, remedy: str) -> None:
        """Refuse a variable; ``celery_app=shop`` names its value, too, where that is no secret."""
        self.texts.append(f"{variable}: {problem}. {remedy}{'' if remedy.endswith('?') else '.'}")
