"""The measure of many apps that have nothing to do: how much memory they hold, and how soon each of them answers.

The measure itself is `apps_many.measure(place, extent, say)`, which returns a dictionary: `apps`, their number;
`memory_bytes`, PSS of all processes; `first_ms`, for some of the apps the milliseconds from the request to the answer.
Without that file there is nothing to measure.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import Callable

from figures import Figure
from measures import Extent
from systems import Place

MODULE = "apps_many"


@dataclass
class ManyResults:
    """Bytes of all processes, and seconds to the first answer of an app."""

    apps: int = 0
    memory: Figure = field(default_factory=Figure)
    first: Figure = field(default_factory=Figure)


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> ManyResults:
    if importlib.util.find_spec(MODULE) is None:
        say("apps    not measured: there is no measure of many apps")
        return ManyResults()
    results = read(importlib.import_module(MODULE).measure(place, extent, say))
    slowest = max(results.first.readings)
    held = results.memory.median / 1e6
    say(f"apps    {results.apps:,} idle apps {held:,.0f} MB, the slowest first answer {slowest * 1000:.0f} ms")
    return results


def read(found: dict) -> ManyResults:
    """What the measure returned, in the units of this house."""
    first = [milliseconds / 1e3 for milliseconds in found["first_ms"]]
    return ManyResults(found["apps"], Figure([float(found["memory_bytes"])]), Figure(first))
