"""The plots of the page: jobs a second over memory, a point a contender, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from tests.bench.rivals import KIT, STOCK, THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.bench.outcomes import Outcome

Point = tuple[float, float]

COLOURS = {STOCK.name: "#d62728", KIT.name: "#1f77b4", THREADS: "#2ca02c", "dramatiq": "#9467bd", "taskiq": "#e69f00"}
BY_HAND = "#777777"
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 700, 36, 350
STEPS = 5
LETTER, LINE = 6.6, 13
"""How wide and how high a letter of a label is, so that none is written over another."""


def plot(title: str, outcome: Outcome) -> str:
    """Return a plot of everybody's medians."""
    points = dict(_medians(outcome))
    most = [_round_up(max(place)) for place in zip(*points.values(), strict=True)]
    look = {"font-family": "sans-serif", "font-size": "12", "fill": "#222222"}
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=str(WIDTH), **look)
    SubElement(root, "rect", width=str(WIDTH), height=str(HEIGHT), fill="white")
    _text(root, ((LEFT + RIGHT) / 2, 20), title, "middle")
    _axes(root, most)
    places = {name: _place(point, most) for name, point in points.items()}
    for name, place in _labels(places).items():
        x, y = places[name]
        colour = COLOURS.get(name, BY_HAND)
        SubElement(root, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="4", fill=colour)
        _text(root, place, name, fill=colour)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _medians(outcome: Outcome) -> Iterator[tuple[str, Point]]:
    for name in outcome.names:
        memory, jobs = outcome.spread(name, "PSS MB"), outcome.spread(name, "jobs/s")
        if memory and jobs:
            yield name, (memory.median, jobs.median)


def _round_up(number: float) -> float:
    """Return the end of an axis whose marks are round numbers."""
    unit = 10 ** math.floor(math.log10(max(number, 1e-6) / STEPS))
    step = next(unit * times for times in (1, 1.5, 2, 2.5, 3, 4, 5, 10) if unit * times * STEPS >= number)
    return float(step * STEPS)


def _place(point: Point, most: list[float]) -> Point:
    return LEFT + (RIGHT - LEFT) * point[0] / most[0], BOTTOM - (BOTTOM - TOP) * point[1] / most[1]


def _axes(root: Element, most: list[float]) -> None:
    SubElement(root, "path", d=f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}", fill="none", stroke="#222222")
    for step in range(STEPS + 1):
        across, up = _place((most[0] * step / STEPS, most[1] * step / STEPS), most)
        _text(root, (across, BOTTOM + 18), f"{most[0] * step / STEPS:,.6g}", "middle")
        _text(root, (LEFT - 6, up + 4), f"{most[1] * step / STEPS:,.6g}", "end")
    _text(root, ((LEFT + RIGHT) / 2, BOTTOM + 40), "memory, MB (PSS)", "middle")
    _text(root, (4, TOP - 12), "jobs/s")


def _labels(places: Mapping[str, Point]) -> dict[str, Point]:
    """Return where each name is written: beside its point, and where another is already, above or below that."""
    written: dict[str, Point] = {}
    for name in sorted(places, key=lambda name: (name not in COLOURS, places[name][1])):
        x, y = places[name]
        wide = len(name) * LETTER
        left = x + 7 if x + 7 + wide < WIDTH else x - 7 - wide
        tries = (y + 4 + side * LINE * times for times in range(HEIGHT) for side in (1, -1))
        written[name] = next((left, line) for line in tries if _is_free((left, line), wide, written))
    return written


def _is_free(place: Point, wide: float, written: Mapping[str, Point]) -> bool:
    return TOP < place[1] < BOTTOM and all(
        abs(place[1] - y) >= LINE or place[0] + wide < x or x + len(name) * LETTER < place[0]
        for name, (x, y) in written.items()
    )


def _text(root: Element, place: Point, text: str, anchor: str = "start", **more: str) -> None:
    told = {"x": f"{place[0]:.1f}", "y": f"{place[1]:.1f}", "text-anchor": anchor, **more}
    SubElement(root, "text", told).text = text
