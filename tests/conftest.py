"""What all tests share: the browser, ClickHouse, hypothesis' settings, and no silent skips in CI."""

from __future__ import annotations

import os
import shutil
import sys

import hypothesis
import pytest

from tests.clickhouse import (
    _embedded_path,
    clickhouse_front,
    clickhouse_server,
    clickhouse_url,
    embedded_path,
    embedded_tables,
    module_front,
)
from tests.skips import IN_CI, pytest_make_collect_report, pytest_runtest_makereport

__all__ = [
    "_embedded_path",
    "clickhouse_front",
    "clickhouse_server",
    "clickhouse_url",
    "embedded_path",
    "embedded_tables",
    "module_front",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
]

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
LONGEST_NAME = 100
LONGEST_FILES = (
    "tests/http/openapi/test_schemathesis.py",
    "tests/tracker/test_harmless.py",
    "tests/tracker/test_options.py",
    "tests/web/",
)
MAC_BROWSER = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"

# Each server and command that a test starts imports hundreds of modules: they are compiled once, whatever the machine's
# environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long one example takes says nothing on a shared machine; pytest-timeout bounds the test.
hypothesis.settings.register_profile("project", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("project")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not name a test unless they read well.

    Each worker of a parallel run collects the tests itself, and all have to find the same
    names: compressed bytes, for one, carry the second in which they were made.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable() and len(val) <= LONGEST_NAME):
        return argname
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a worker that gets one at the end keeps the whole run waiting."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST_FILES))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome; `TEST_CHROMIUM` names another one."""
    found = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.access(MAC_BROWSER, os.X_OK):
        found = MAC_BROWSER
    if found is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium) or set TEST_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def headless_shell(request: pytest.FixtureRequest) -> str:
    """Path of Chromium's headless shell (`TEST_HEADLESS_SHELL` names another), or of Chromium where it is missing."""
    found = os.environ.get("TEST_HEADLESS_SHELL") or shutil.which("chromium-headless-shell")
    return found or str(request.getfixturevalue("chromium"))
