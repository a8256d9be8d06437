"""config.example.toml says what each setting means; docs/configuration.md repeats it as tables."""

from __future__ import annotations

import re
import tomllib

import msgspec
import pytest

from analytics_server.config import ENVIRONMENT_PREFIX, NOT_SETTINGS, Config, load_config, section_keys
from tests.docs.pages import ROOT, is_current

EXAMPLE = ROOT / "config.example.toml"


def explanations() -> dict[tuple[str, str], str]:
    """The comment lines above each key, joined."""
    found: dict[tuple[str, str], str] = {}
    section, comment = "", []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment.append(line[1:].strip())
        elif match := re.fullmatch(r"\[(\w+)\]", line):
            section, comment = match[1], []
        elif match := re.match(r"(\w+) = ", line):
            found[section, match[1]], comment = " ".join(comment), []
        else:
            comment = []
    return found


def table(section: str) -> str:
    defaults = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))[section]
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key in section_keys()[section]:
        default = msgspec.json.encode(defaults[key]).decode().replace(",", ", ")
        rows.append(f"| `{key}` | `{default}` | {explanations()[section, key]} |")
    return "\n".join(rows)


def test_example_holds_every_key_with_its_default() -> None:
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert {section: list(keys) for section, keys in raw.items()} == {
        section: list(keys) for section, keys in section_keys().items()
    }
    assert load_config(EXAMPLE, {}) == Config()


def test_every_key_is_explained_in_a_sentence() -> None:
    for place, text in explanations().items():
        assert text.endswith("."), f"{place} in config.example.toml needs a comment that is a sentence"
        assert len(text) > 15, f"{place} in config.example.toml is hardly explained"
    assert set(explanations()) == {(section, key) for section, keys in section_keys().items() for key in keys}


def test_every_comment_belongs_to_a_key() -> None:
    head, *sections = EXAMPLE.read_text(encoding="utf-8").split("\n\n[")
    assert all(line.startswith("#") for line in head.splitlines())
    for section in sections:
        title, *lines = section.strip().splitlines()
        shape = ["comment" if line.startswith("#") else "key" for line in lines]
        assert shape == ["comment", "key"] * (len(lines) // 2), (
            f"[{title} has a comment without a key, or one of two lines"
        )


@pytest.mark.parametrize("section", list(section_keys()))
def test_configuration_page_shows_the_section(section: str) -> None:
    assert is_current("configuration.md", section, table(section)), "run `make golden`"


def test_environment_variables_named_in_files_are_settings() -> None:
    known = {f"{ENVIRONMENT_PREFIX}{section}_{key}".upper() for section, keys in section_keys().items() for key in keys}
    known |= NOT_SETTINGS
    names = ("README.md", "Makefile", "Dockerfile", "compose.yaml", "docs/deployment.md", "docs/configuration.md")
    for name in names:
        used = set(re.findall(r"\bANALYTICS_[A-Z_]+[A-Z]\b", (ROOT / name).read_text(encoding="utf-8")))
        assert used <= known, f"{name}: {sorted(used - known)} is no setting"
