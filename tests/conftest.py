"""What all tests share: the browser, ClickHouse, hypothesis' settings, and no silent skips in CI.

A test may skip itself on a developer's machine when something optional (Chromium) is
missing. Under `CI` that same skip is a failure, so that a green run has run everything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from typing import TypeVar

import hypothesis
import pytest

from tests.clickhouse import clickhouse_front, clickhouse_server, clickhouse_url, module_front

__all__ = ["clickhouse_front", "clickhouse_server", "clickhouse_url", "module_front"]

IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MAC_BROWSER = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"

# How long one example takes says nothing on a shared machine; pytest-timeout bounds the test.
hypothesis.settings.register_profile("project", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome; `TEST_CHROMIUM` names another one."""
    found = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.access(MAC_BROWSER, os.X_OK):
        found = MAC_BROWSER
    if found is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium) or set TEST_CHROMIUM")
    return found


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _refuse_skip(report: Report) -> Report:
    if IN_CI and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"Skipped, which CI does not accept: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))
