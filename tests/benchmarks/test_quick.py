"""Each benchmark works, at tiny sizes: its figures are there and nothing is lost. No time is judged."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.process import ToolMissing
from benchmarks.report import Result
from benchmarks.settings import quick

COUNTED = {"errors", "lost", "stored twice", "refused", "missing afterwards"}
"""Figures that have nothing to do with speed: they must be met at any size."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_benchmark_runs_and_loses_nothing(name: str, tmp_path: Path) -> None:
    if name == "idle" and not sys.platform.startswith("linux"):
        pytest.skip("no /proc: the idle benchmark runs on Linux only")
    try:
        result = importlib.import_module(f"benchmarks.{name}").run(quick(tmp_path))
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert isinstance(result, Result)
    assert result.figures
    assert all(math.isfinite(figure.value) for figure in result.figures)
    counted = [figure for figure in result.figures if figure.name.rpartition(": ")[2] in COUNTED]
    assert all(figure.met for figure in counted), counted
