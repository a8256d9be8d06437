"""Known spam referrers are dropped by host and subdomain, and no real site is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.referrer import REFERRAL, ReferrerClassifier
from analytics_server.spelling import source_names as source_names_module
from analytics_server.spelling.host_names import host_name
from analytics_server.spelling.source_names import SPAM, SPAM_HOSTS, SPAM_NAME, load_sources, spam_hosts
from tests.collect.enrich.lists.spam import false_positives, main, well_known, without_spam
from tests.collect.test_drop_counts import VIEW
from tests.collect.world import World, answered

PACKED = Path(str(source_names_module.__file__)).with_name(SPAM_HOSTS)
LEAST_HOSTS = 300


@pytest.fixture(scope="module")
def hosts() -> list[str]:
    return spam_hosts(PACKED.read_text(encoding="utf-8"))


def test_the_list_is_sorted_and_in_its_one_spelling(hosts: list[str]) -> None:
    assert len(hosts) >= LEAST_HOSTS
    assert hosts == sorted(set(hosts))
    assert hosts == [host_name(host.strip().lower()) for host in hosts]


def test_no_real_site_is_on_it(hosts: list[str]) -> None:
    assert len(well_known()) > 200
    assert false_positives(hosts) == set()


def test_the_table_of_sources_and_the_list_do_not_meet(hosts: list[str]) -> None:
    classifier = ReferrerClassifier(load_sources())
    known = [
        host.strip("=").replace(".*", ".com")
        for kind, names in without_spam().kinds.items()
        for entries in names.values()
        for host in entries
        if kind != SPAM
    ]
    assert len(known) > 500
    assert [host for host in (*known, *well_known()) if classifier.classify(host).kind == SPAM] == []
    assert {classifier.classify(host).name for host in hosts} == {SPAM_NAME}


@pytest.mark.parametrize(
    "referrer",
    [
        "https://1-best-seo.com/",
        "http://www.1-best-seo.com",
        "https://www.1-BEST-seo.com/offer?id=4",
        "https://deep.sub.semalt.com/crawler.php",
        "https://xn--oogle-wmc.com/",
        "https://холодныйобзвон.рф/",
        "https://me@9-best-seo.com:8080/",
    ],
)
async def test_a_session_does_not_begin_with_one(referrer: str) -> None:
    world = World()
    answer = answered(await world.send({**VIEW, "referrer": referrer}))
    assert answer["dropped"] == {DropReason.SPAM_REFERRER.value: 1}
    assert world.events == []
    (drop,) = world.drops.of_site("a.example")
    assert (drop.reason, drop.events) == ("spam_referrer", 1)


@pytest.mark.parametrize(
    "referrer",
    [
        "https://not-1-best-seo.com/",
        "https://1-best-seo.com.example/",
        "https://example.com/1-best-seo.com",
        "https://semalt.example/",
        "https://ok.ru/",
        "https://google.com/",
        "https://seo.example/",
        "com",
        "",
    ],
)
async def test_other_hosts_are_none(referrer: str) -> None:
    world = World()
    await world.send({**VIEW, "referrer": referrer})
    assert len(world.events) == 1


async def test_a_session_that_is_open_goes_on() -> None:
    world = World()
    for fields in ({}, {"referrer": "https://semalt.com/"}):
        await world.send({**VIEW, "session_id": "tab", **fields})
    assert [event["referrer"] for event in world.events] == ["", ""]
    await world.send({**VIEW, "session_id": "other", "referrer": "https://semalt.com/"})
    await world.send({**VIEW, "session_id": "other"})
    assert [event["source"] for event in world.events] == ["Direct"] * 3


async def test_a_sites_own_host_is_never_spam() -> None:
    world = World()
    await world.send({**VIEW, "url": "https://semalt.com/", "referrer": "https://semalt.com/a"})
    assert len(world.events) == 1


def test_hosts_of_a_file_are_added_and_real_ones_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, packed = tmp_path / "given.txt", tmp_path / SPAM_HOSTS
    given.write_text(
        "New-Spam.example\n\nwww.xn--oogle-wmc.com\n# no host\ngoogle.com\nblogspot.com\ncom\n", encoding="utf-8"
    )
    packed.write_text("# head\nsemalt.com\n", encoding="utf-8")
    monkeypatch.setattr("tests.collect.enrich.lists.spam.PACKED", packed)
    monkeypatch.setattr("sys.argv", ["spam", str(given)])
    main()
    assert packed.read_text(encoding="utf-8") == "# head\nnew-spam.example\nsemalt.com\nɢoogle.com\n"
    assert "blogspot.com, com, google.com" in capsys.readouterr().out


def test_unlisted_hosts_stay_what_they_are() -> None:
    assert ReferrerClassifier(load_sources()).classify("blog.example").kind == REFERRAL
