"""A skipped test is a failure in CI, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = Path(__file__).resolve().parent.parent / "skips.py"
SKIPPING = """
import pytest

def test_runs():
    pass

def test_that_leaves():
    pytest.skip("something is missing")
"""
UNCOLLECTED = """
import pytest

pytest.importorskip("a_module_that_does_not_exist")
"""


@pytest.mark.parametrize("source", [SKIPPING, UNCOLLECTED])
@pytest.mark.parametrize(("ci", "accepted"), [("true", False), ("", True)])
def test_ci_refuses_skips(tmp_path: Path, source: str, ci: str, accepted: bool) -> None:
    shutil.copy(SKIPS, tmp_path / "conftest.py")
    (tmp_path / "test_one.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode in (0, 5)) is accepted, done.stdout
