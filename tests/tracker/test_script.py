"""The script as it is built and handed out: no browser needed."""

from __future__ import annotations

import re

import pytest

from analytics_server.collect.tracker import COLLECT_PLACEHOLDER, load_script
from analytics_server.collect.tracker.build import BUILT, MAX_GZIP_BYTES, build, gzip_bytes


def test_built_script_is_what_the_source_gives() -> None:
    assert BUILT.read_text(encoding="utf-8") == build(), "run: python -m analytics_server.collect.tracker.build"


def test_script_is_small_enough() -> None:
    assert gzip_bytes(load_script("/track", "/a.js").decode()) <= MAX_GZIP_BYTES


def test_script_names_no_storage() -> None:
    storage = "cookie|localStorage|sessionStorage|indexedDB|caches|serviceWorker"
    assert re.findall(storage, BUILT.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("collect_path", "script_path", "way"),
    [
        ("/track", "/a.js", '"./track"'),
        ("/track", "/js/app.js", '"../track"'),
        ("/js/e", "/js/app.js", '"./e"'),
        ("/api/event/", "/a.js", '"./api/event/"'),
        ("/", "/js/a.js", '"../"'),
    ],
)
def test_endpoint_is_named_relative_to_the_script(collect_path: str, script_path: str, way: str) -> None:
    script = load_script(collect_path, script_path).decode()
    assert f"({way}," in script
    assert COLLECT_PLACEHOLDER not in script


def test_path_cannot_break_out_of_the_script() -> None:
    assert '"./a\\";b"' in load_script('/a";b', "/a.js").decode()
