"""The npm workspace `web/`, as tests run it: with Node.js 20.19 or newer and the packages of its lock file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
MIN_NODE = (20, 19)
TIMEOUT_S = 110.0


def find_node() -> str:
    """The path of Node.js; skips the test where it is missing, too old, or without the workspace's packages."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js, which builds the client: install it (Debian: apt-get install nodejs npm)")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, version.strip().lstrip("v").split(".")[:2])) < MIN_NODE:
        pytest.skip(f"Node.js {version.strip()} is too old to build the client: `make test` brings a newer one")
    if not (WEB / "node_modules" / "installed").is_file():
        pytest.skip("the packages of web/ are not installed: `make test` does it where npm is there")
    return node


def run(*command: str, folder: Path = WEB, timeout_s: float = TIMEOUT_S) -> str:
    """Runs Node.js with these arguments; returns what it wrote, and fails with it where it fails."""
    done = subprocess.run(
        [find_node(), *command],
        cwd=folder,
        env={**os.environ, "NEXT_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
