"""The package as its users get it: types, both module systems, no browser needed to import it, and its size."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.web.workspace import TIMEOUT_S, WEB, run

MADE = "new AnalyticsClient({apiBaseUrl: 'https://stats.example.com', appName: 'example.com'})"


def test_unit_tests_pass(built: Path) -> None:
    run(str(WEB / "node_modules/vitest/vitest.mjs"), "run", folder=built)


def test_types_of_the_tests_hold() -> None:
    run("node_modules/typescript/bin/tsc", "-p", "client/tests")


def test_core_is_small_enough(built: Path) -> None:
    run("client/build/size.mjs")


def test_package_is_published_as_both_module_systems_expect(built: Path) -> None:
    run(str(WEB / "node_modules/publint/src/cli.js"), "--strict", folder=built)
    attw = WEB / "node_modules/@arethetypeswrong/cli/dist/index.js"
    run(str(attw), "--pack", ".", "--no-color", folder=built)


def test_import_and_every_call_work_without_a_browser(built: Path) -> None:
    calls = "client.track('a'); client.trackView(); client.flush(); client.optOut(); client.destroy();"
    module = f"import {{ AnalyticsClient }} from '@analytics/client'; const client = {MADE}; {calls}"
    common = f"const {{ AnalyticsClient }} = require('@analytics/client'); const client = {MADE}; {calls}"
    run("--input-type=module", "-e", module, folder=built)
    run("--input-type=commonjs", "-e", common, folder=built)


def test_package_holds_only_what_is_built(built: Path) -> None:
    npm = shutil.which("npm")
    assert npm is not None
    listed = subprocess.run(
        [npm, "pack", "--dry-run", "--json"], cwd=built, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert '"path": "src' not in listed.stdout
    assert '"path": "dist/index.js"' in listed.stdout
