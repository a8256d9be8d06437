"""The script as it is built and handed out: no browser needed."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files

import pytest

from analytics_server.collect.tracker import COLLECT_PLACEHOLDER, load_extras, load_script

MAX_GZIP_BYTES = 3_000


@pytest.mark.parametrize("script", [load_script("/track", "/a.js"), load_extras()], ids=["a.js", "the second file"])
def test_script_is_small_enough(script: bytes) -> None:
    assert len(gzip.compress(script, 9, mtime=0)) <= MAX_GZIP_BYTES


@pytest.mark.parametrize("name", ["a.js", "extras.min.js"])
def test_script_names_no_storage(name: str) -> None:
    storage = "cookie|localStorage|sessionStorage|indexedDB|caches|serviceWorker"
    built = files("analytics_server.collect.tracker").joinpath(name).read_text(encoding="utf-8")
    assert re.findall(storage, built) == []


@pytest.mark.parametrize("name", ["a.js", "extras.min.js"])
def test_script_declares_nothing_that_the_page_would_see(name: str) -> None:
    built = files("analytics_server.collect.tracker").joinpath(name).read_text(encoding="utf-8")
    assert re.findall(r"\b(var|class) |\bfunction \w", built) == []


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
    assert f"new URL({way}," in script
    assert COLLECT_PLACEHOLDER not in script


def test_path_cannot_break_out_of_the_script() -> None:
    assert '"./a\\";b"' in load_script('/a";b', "/a.js").decode()
