"""Median times of the Landau stage on one core: `make bench-landau`. Not a test: it prints and asserts nothing."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable

import numpy as np

from spincross import landau_curves, paper_figures
from spincross.landau import landau_account
from spincross.landau_maps import phase_diagram
from spincross.landau_model import LandauModel

PAPER = {"a1": 0.6, "T_SC": 235.0, "C": 35.0, "b": 10.0, "D": -6.5, "E": -12.2}
REPEATS = 5


def median_seconds(work: Callable[[], object]) -> float:
    """Return the median time of REPEATS runs, s."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print one line per part."""
    model, grid = LandauModel(**PAPER), np.linspace(100.0, 400.0, 1000).tolist()
    account = landau_account(PAPER, grid)
    plane = np.linspace(-20.0, -5.0, 200), np.linspace(100.0, 400.0, 200)

    def stage() -> None:
        landau_curves.figure_5(landau_account(PAPER, grid))

    parts = {
        "whole stage: account (2 x 1000 temperatures, spinodals, barriers, window) and figure 5 surfaces": stage,
        "account alone": lambda: landau_account(PAPER, grid),
        "figures 1, 2 and 5 drawn": lambda: paper_figures.draw(account),
        "phase diagram of E, 200 x 200": lambda: phase_diagram(model, "E", *plane),
    }
    for name, work in parts.items():
        print(f"{median_seconds(work):7.2f} s  {name} (median of {REPEATS})", flush=True)


if __name__ == "__main__":
    main()
