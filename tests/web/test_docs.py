"""The documentation of the client: its snippets compile, and it leaves out no option and no call."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.docs.pages import ROOT
from tests.web.workspace import WEB, run

SNIPPET = re.compile(r"^```ts\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page() -> str:
    return (ROOT / "docs" / "client-sdk.md").read_text(encoding="utf-8")


def test_every_snippet_compiles(page: str, modules: Path, tmp_path: Path) -> None:
    snippets = SNIPPET.findall(page)
    assert len(snippets) >= 3
    for index, snippet in enumerate(snippets):
        (tmp_path / f"snippet{index}.ts").write_text(snippet, encoding="utf-8")
    options = {
        "extends": str(WEB / "client" / "tsconfig.json"),
        "compilerOptions": {"paths": {"@analytics/client": [str(modules / "index.d.ts")]}},
        "include": [str(tmp_path)],
    }
    (tmp_path / "tsconfig.json").write_bytes(msgspec.json.encode(options))
    run("node_modules/typescript/bin/tsc", "-p", str(tmp_path))


def test_every_option_and_call_is_listed(page: str) -> None:
    types = (WEB / "client" / "src" / "types.ts").read_text(encoding="utf-8")
    config = types.split("export interface AnalyticsConfig {")[1].split("\n}")[0]
    options = re.findall(r"^  (\w+)\??:", config, re.MULTILINE)
    client = (WEB / "client" / "src" / "index.ts").read_text(encoding="utf-8").split("export class")[1]
    calls = [name for name in re.findall(r"^  (\w+)[(<]", client, re.MULTILINE) if name != "constructor"]
    assert {"apiBaseUrl", "beforeSend"} <= {*options}
    assert {"track", "destroy"} <= {*calls}
    assert [name for name in options if f"`{name}`" not in page] == []
    assert [name for name in calls if f"`{name}(" not in page] == []
