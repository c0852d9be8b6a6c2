"""Figures: several readings of one thing, and how they are shown."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Callable, List, Sequence


@dataclass
class Figure:
    """Readings of one quantity, in the unit that its measure names."""

    readings: List[float] = field(default_factory=list)

    def add(self, reading: float) -> None:
        self.readings.append(reading)

    @property
    def median(self) -> float:
        """NaN if there is no reading."""
        return statistics.median(self.readings) if self.readings else math.nan

    def show(self, unit: Callable[[float], str]) -> str:
        """`167 ms (160 to 181)`, or a dash without readings; the extremes name their unit where it is another."""
        if not self.readings:
            return "–"
        if len(self.readings) == 1:
            return unit(self.readings[0])
        median = unit(self.median)
        ending = median[median.rfind(" ") :]
        least, most = (unit(reading).removesuffix(ending) for reading in (min(self.readings), max(self.readings)))
        return f"**{median}** ({least} to {most})"


@dataclass
class Latency:
    """Quantiles of several runs, in seconds: one reading of each for each run."""

    p50: Figure = field(default_factory=Figure)
    p99: Figure = field(default_factory=Figure)
    # Answers in all runs together.
    count: int = 0

    def add_run(self, took: List[float]) -> None:
        self.p50.add(percentile(took, 0.5))
        self.p99.add(percentile(took, 0.99))
        self.count += len(took)


def percentile(readings: List[float], share: float) -> float:
    """The reading that this share of all does not exceed."""
    if not readings:
        return math.nan
    ordered = sorted(readings)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def seconds(value: float) -> str:
    """A duration in the unit that leaves one to three digits before the point."""
    if math.isnan(value):
        return "–"
    if value < 0.000_999_5:
        return f"{round(value * 1e6)} µs"
    if value < 0.0995:
        return f"{value * 1e3:.2f} ms"
    if value < 0.999_5:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.2f} s"


def per_second(noun: str) -> Callable[[float], str]:
    """Shows a rate: `13,263 requests/s`."""
    return lambda value: "–" if math.isnan(value) else f"{value:,.0f} {noun}/s"


def megabytes(value: float) -> str:
    """Shows bytes in MB of 1,000,000 bytes."""
    return "–" if math.isnan(value) else f"{value / 1e6:.1f} MB"


def ratio(figure: Figure, base: Figure) -> str:
    """How many times `base` the figure is, by medians; a dash if one of them is missing."""
    if not figure.readings or not base.readings or base.median == 0:
        return "–"
    return f"{figure.median / base.median:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar inside of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
