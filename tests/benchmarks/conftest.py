"""Benchmarks are ratios of two works timed in turn in one run; nothing here asserts a time.

`make bench` runs them and prints one table; `make test` leaves them out (they need the `ratio` fixture's switch).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

ROWS: list[tuple[str, str, str]] = []


@dataclass(frozen=True)
class Ratio:
    """Times works in turn (a b c a b c ...) and records what their ratio was."""

    rounds: int = 7

    def times(self, *works: Callable[[], object], rounds: int | None = None) -> list[float]:
        """Least seconds of each work, after one warm-up of each."""
        for work in works:
            work()
        best = [float("inf")] * len(works)
        for _ in range(rounds or self.rounds):
            for i, work in enumerate(works):
                start = time.perf_counter()
                work()
                best[i] = min(best[i], time.perf_counter() - start)
        return best

    def report(self, work: str, measured: str, budget: str) -> None:
        """One line of the closing table."""
        ROWS.append((work, measured, budget))


@pytest.fixture
def ratio() -> Ratio:
    """The stopwatch; benchmarks run only where XSOIL_BENCH is set, as `make bench` does."""
    if not os.environ.get("XSOIL_BENCH"):
        pytest.skip("a benchmark: make bench")
    return Ratio()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("benchmarks")
    width = max(len(row[0]) for row in ROWS)
    for work, measured, budget in ROWS:
        terminalreporter.write_line(f"{work:<{width}}  {measured}  (budget {budget})")
