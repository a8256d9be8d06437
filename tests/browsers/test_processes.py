"""No browser outlives its test, however the test ends."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.browsers.browser import Browser
from tests.browsers.fixtures import DRIVERS
from tests.browsers.processes import ProcessGroup, clean_environment
from tests.server import wait_for

PROC = Path("/proc")


def processes_of(directory: Path) -> list[int]:
    """Those that run with the directory as their home; a process that has ended has no environment."""
    found = []
    for process in PROC.glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"HOME={directory}\0".encode() in environment:
            found.append(int(process.name))
    return found


async def assert_ended(directory: Path) -> None:
    async def none() -> bool:
        return not processes_of(directory)

    await wait_for(none, what="the end of all processes")


linux = pytest.mark.skipif(not PROC.is_dir(), reason="no /proc to find processes in")


@linux
@pytest.mark.parametrize("name", DRIVERS)
async def test_all_processes_of_a_browser_end_with_it(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "browser"
    async with Browser(DRIVERS[name](directory)) as browser:
        assert await browser.evaluate("1 + 1") == 2
        assert len(processes_of(directory)) >= 3
    await assert_ended(directory)


@linux
@pytest.mark.parametrize("name", DRIVERS)
async def test_browser_ends_though_its_driver_was_killed(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "browser"
    async with Browser(DRIVERS[name](directory)):
        killed = 0
        for process in processes_of(directory):
            with contextlib.suppress(OSError):  # Its children may end with the driver.
                if (PROC / str(process) / "comm").read_text(encoding="utf-8").startswith(("node", "WebKitWebDriver")):
                    os.kill(process, signal.SIGKILL)
                    killed += 1
        assert killed
    await assert_ended(directory)


@linux
async def test_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    script = "trap '' TERM; sh -c 'sleep 1000' & echo started; wait; sleep 1000"
    group = ProcessGroup(["sh", "-c", script], clean_environment(tmp_path), tmp_path / "log")
    assert group.read_line(60) == b"started"
    group.end(timeout_s=0.1)
    await assert_ended(tmp_path)


def test_process_that_ended_is_reported_with_its_log(tmp_path: Path) -> None:
    group = ProcessGroup(["sh", "-c", "echo reason >&2"], clean_environment(tmp_path), tmp_path / "log")
    try:
        with pytest.raises(AssertionError, match=r"ended:\nreason"):
            group.read_line(60)
    finally:
        group.end()


def test_silent_process_is_reported_with_its_log(tmp_path: Path) -> None:
    script = "echo reason >&2; echo started; exec sleep 1000"
    group = ProcessGroup(["sh", "-c", script], clean_environment(tmp_path), tmp_path / "log")
    try:
        assert group.read_line(60) == b"started"
        with pytest.raises(AssertionError, match=r"was silent for 0.5 s:\nreason"):
            group.read_line(0.5)
    finally:
        group.end()
