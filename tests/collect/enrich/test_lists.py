"""Detection holds on public lists: no real browser is a bot, its device is right, and hardly a crawler is missed."""

from __future__ import annotations

import pytest

from tests.collect.enrich.lists import Measured, measure
from tests.collect.enrich.user_agents import PEOPLE_AMONG_CRAWLERS

LEAST_BROWSERS = 900
LEAST_CRAWLERS = 2_000
LEAST_RECALL = 0.97


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure()


def test_no_real_browser_is_a_bot(measured: Measured) -> None:
    assert measured.browsers > LEAST_BROWSERS
    assert not measured.false_bots


def test_every_real_browser_has_its_device(measured: Measured) -> None:
    assert not measured.wrong_devices


def test_hardly_a_crawler_is_missed(measured: Measured) -> None:
    assert measured.crawlers > LEAST_CRAWLERS
    assert measured.recall >= LEAST_RECALL, measured.missed


def test_browsers_that_the_list_of_crawlers_names_are_kept(measured: Measured) -> None:
    assert set(PEOPLE_AMONG_CRAWLERS) <= set(measured.missed)
