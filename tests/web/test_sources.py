"""The sources of the client: types hold, the built script is theirs, and the lock file names no registry."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.web.workspace import ROOT, WEB, run


def test_types_hold() -> None:
    run("node_modules/typescript/bin/tsc", "-p", "client")


def test_script_of_the_server_is_what_the_sources_give() -> None:
    run("client/build/script.mjs", "--check")


def test_lock_files_name_no_registry() -> None:
    folders = ("examples/*", "tests/*/*", "tests/*/*/*")
    locks = [WEB / "package-lock.json", *(path for one in folders for path in ROOT.glob(f"{one}/package-lock.json"))]
    assert len(locks) > 10
    for path in locks:
        lock: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        addresses = [entry["resolved"] for entry in lock["packages"].values() if "://" in entry.get("resolved", "")]
        assert addresses == [], path


def test_sources_are_short() -> None:
    sources = [*(WEB / "client").rglob("*.ts"), *(WEB / "client").rglob("*.mjs"), *(WEB / "client").rglob("*.tsx")]
    sources = [path for path in sources if not {"node_modules", "dist"} & {*path.parts}]
    assert sources
    assert not [path.name for path in sources if len(path.read_text(encoding="utf-8").splitlines()) > 400]
