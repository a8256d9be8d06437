"""A time zone that the server takes is known to browsers, too."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import available_timezones

import pytest
from playwright.async_api import Page

from analytics_server.config import load_config
from analytics_server.errors import ConfigError
from analytics_server.zones import base_zone, find_zone, refusal
from tests.browser import browser, context, page

__all__ = ["browser", "context", "page"]

COPIES = ("right/UTC", "right/Europe/Berlin", "posix/UTC", "posixrules", "localtime", "Factory")


def taken() -> list[str]:
    return sorted(name for name in {*available_timezones(), *COPIES} if find_zone(name) is not None)


@pytest.mark.asyncio(loop_scope="session")
async def test_browsers_know_every_zone_that_is_taken(page: Page) -> None:
    unknown = await page.evaluate(
        """names => names.filter(name => {
            try { new Intl.DateTimeFormat('en', { timeZone: name }); return false; } catch { return true; }
        })""",
        taken(),
    )

    assert unknown == []
    assert len(taken()) > 590


@pytest.mark.parametrize("name", COPIES)
def test_the_config_takes_no_zone_that_only_python_knows(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[sites]\ndefault_timezone = "{name}"\n')

    with pytest.raises(ConfigError, match=r"\[sites\] default_timezone"):
        load_config(path, {})


def test_a_long_name_is_cut_in_the_message() -> None:
    assert len(refusal("x" * 100_000)) < 250


def test_utc_stands_in_for_what_has_no_base() -> None:
    assert [base_zone(name).key for name in ("right/Asia/Tokyo", "localtime", "right/right/UTC", "")] == [
        "Asia/Tokyo",
        "UTC",
        "UTC",
        "UTC",
    ]
