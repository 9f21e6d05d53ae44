"""The part of ``docs/benchmarks.md`` about sizes: how many jobs at once, set by hand and found by the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.changes import CELLS as CHANGES
from tests.bench.outcomes import outcomes
from tests.bench.plots import plot
from tests.bench.results import Spread, rounded
from tests.bench.rivals import AT_ONCE, STOCK, THREADS
from tests.bench.sizes import LEARNING, LEARNING_SLOWLY, WORKLOADS
from tests.bench.trial import MEMORY, WINDOW
from tests.rig.record import DOCS, Record, markdown, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.changes import Change, Shortage
    from tests.bench.outcomes import Outcome, Promise
    from tests.bench.sizes import Workload

    Cell = Workload | Change | Shortage

RECORD = Record("sizes")
CELLS: dict[str, Cell] = {cell.name: cell for cell in (*WORKLOADS, *CHANGES)}
PLOTTED = tuple(cell.name for cell in WORKLOADS)
PLOTS = DOCS / "sizes"
PRICE = "MB per added job/s"

HEAD = """\
## How many jobs at once

`make bench BENCH=tuned` measures the cells below, and writes this part of the page and its {record}.

- `stock` is Celery as it comes, with nothing of the kit. `kit` is a worker of the kit that is told its app and
  broker and nothing else. `{threads}` is told `CELERYKIT_POOL_KINDS=threads,prefork` besides, and has as many
  workers as `celerykit tune --replicas` says. Each has first done {learning:g} seconds of such jobs ({slowly:g} or
  {slowest:g} where they fill memory) and been restarted, and the same again if it then chose another size.
- The others of the kit are sizes set by hand, with `CELERYKIT_TUNE=off`: a process a CPU and 16, as Airflow has it, are
  what people usually set. The best of them are known once all have been measured, and are measured again with the rest.
- Other programs have settings as they document them: dramatiq a process a CPU, 8 threads each or, where jobs
  wait, {each}; taskiq a process a CPU, {each} coroutines each, Redis streams. In RabbitMQ, their queues and
  those of `stock` are classic ones, and the kit's are quorum queues.

Every job is the same code everywhere, and the jobs of a workload are always the same in the same order. Each contender
has an empty broker and a container of {memory} memory. Jobs wait for it, and what it does is counted for {window:g}
seconds ({longest:g} where jobs fill memory): the rate, CPU time of all its processes, and the most memory that they
have together (PSS, looked at once a second). Waiting is from sending to start, of jobs that come one by one, in the
first round; those of them that are not done a minute later are lost. A figure is the median of the rounds, with the
lowest and the highest if there are several; ratios are taken round by round.
"""


def part() -> str:
    """Return that part of the page."""
    record = outcomes(RECORD.read())
    missing = [f"`{name}`" for name in CELLS if name not in record]
    head = HEAD.format(
        record=f"[record]({RECORD.file.name})" if record else "record",
        threads=THREADS,
        learning=LEARNING,
        slowly=2 * LEARNING,
        slowest=LEARNING_SLOWLY,
        each=AT_ONCE // 2,
        memory=MEMORY.replace("g", " GB"),
        window=WINDOW,
        longest=max(workload.window for workload in WORKLOADS),
    )
    parts = [head, *_where(record), *(section(CELLS[name], record[name]) for name in CELLS if name in record)]
    return "\n".join([*parts, *([f"Not measured yet: {', '.join(missing)}.\n"] if missing else [])])


def plots() -> dict[Path, str]:
    """Return the files that the page shows."""
    record = outcomes(RECORD.read())
    return {PLOTS / f"{name}.svg": plot(name, record[name]) for name in PLOTTED if name in record}


def write() -> None:
    """Write them, and remove what is no longer shown."""
    for file in PLOTS.glob("*.svg"):
        file.unlink()
    for file, content in plots().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")


def section(cell: Cell, outcome: Outcome) -> str:
    """Return what is said of one cell: who did what, and what had been promised."""
    found = {**{f"{title} set by hand": name for title, name in outcome.best.items()}, **outcome.chosen}
    sizes = "; ".join(f"{title}: {name}" for title, name in found.items())
    return "\n".join(
        [
            f"### {cell.name}\n",
            f"{cell.text[0].upper()}{cell.text[1:]}.{f' Sizes: {sizes}.' if sizes else ''}\n",
            *([f"![jobs a second over memory]({PLOTS.name}/{cell.name}.svg)\n"] if cell.name in PLOTTED else []),
            figures(outcome),
            markdown(("of", "promised", "measured", "bar", ""), (_kept(one, outcome) for one in cell.promises)),
        ]
    )


def figures(outcome: Outcome) -> str:
    """Return the table of all contenders."""
    metrics = list(dict.fromkeys(key for held in outcome.rounds for values in held.values() for key in values))
    shown = [metric for metric in metrics if metric != "OOM kills" or _any(outcome, metric)]
    priced = any(outcome.price(name, STOCK.name) for name in outcome.names)
    head = ("", *shown, *([PRICE] if priced else []))
    rows = []
    for name in outcome.names:
        price = outcome.price(name, STOCK.name) if name != STOCK.name else None
        cells = [_figure(outcome.spread(name, metric)) for metric in shown]
        rows.append((name, *cells, *([_price(price)] if priced else [])))
    return markdown(head, rows)


def _any(outcome: Outcome, metric: str) -> bool:
    return any(spread.most for name in outcome.names if (spread := outcome.spread(name, metric)))


def _figure(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return rounded(spread.median) if spread.least == spread.most else str(spread)


def _price(price: Spread | None) -> str:
    return "none" if price is not None and price.median <= 0 else _figure(price)


def _kept(promise: Promise, outcome: Outcome) -> tuple[str, ...]:
    verdict = "met" if promise.is_met(outcome) else "**missed**"
    return (promise.name, promise.text, _figure(promise.measured(outcome)) or "nothing", str(promise), verdict)


def _where(record: Mapping[str, Outcome]) -> Iterator[str]:
    for date, where in sorted({(one.date[:10], place(one.machine, one.versions)) for one in record.values()}):
        yield f"Measured on {date}: {where}.\n"
    if record:
        busiest, minutes = max(one.load for one in record.values()), sum(one.seconds for one in record.values()) / 60
        yield f"It took {minutes:.0f} minutes; other load when a cell began: at most {busiest:.1f} processes.\n"
