"""The page for the data-protection officer: its table of profiles is the code's, and each promise names a real test."""

from __future__ import annotations

import ast
import re

from analytics_server.profiles.switches import FIELDS, SiteProfile
from analytics_server.profiles.tables import PROFILES
from tests.docs.pages import ROOT, is_current

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_the_profiles_are_those_of_the_code() -> None:
    head = "| profile | for | left out | besides | you |\n|---|---|---|---|---|"
    rows = [
        f"| `{profile.name}` | {profile.about} | {_left_out(profile)} | {_besides(profile)} | {_duties(profile)} |"
        for profile in PROFILES.values()
    ]
    assert is_current("privacy.md", "profiles", "\n".join([head, *rows])), "run `make golden`"


def _left_out(profile: SiteProfile) -> str:
    kinds = [f"{FIELDS[kind].about} (`{'`, `'.join(FIELDS[kind].columns)}`)" for kind in sorted(profile.left_out)]
    return "; ".join(kinds) or "nothing"


def _besides(profile: SiteProfile) -> str:
    said = []
    if profile.shortened_bytes:
        said.append(f"addresses lose {profile.shortened_bytes} bytes before they are hashed")
    if not profile.script:
        taken = "only servers and the pixel are taken, and of the pixel its site, name and page"
        said.append(f"events of the script are refused: {taken}")
    if not profile.cohorts:
        said.append("no cohorts")
    if not profile.sharing:
        said.append("no sharing by link")
    if profile.most_retention_days:
        said.append(f"events go after {profile.most_retention_days} days at the latest")
    return "; ".join(said) or "–"


def _duties(profile: SiteProfile) -> str:
    return " ".join(profile.duties) or "–"


def test_each_promise_names_a_test_that_there_is() -> None:
    text = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    table = text.split("<!-- promises -->")[1].split("<!-- end promises -->")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ") and not row.startswith("| promise")]

    assert rows
    for row in rows:
        named = _TEST.findall(row)
        assert named, f"no test holds: {row}"
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in functions, f"{path} has no test {name}"
