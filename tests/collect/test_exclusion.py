"""Exclusion rules: what fits one is dropped with the rule as example; a site without rules is not touched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.steps.exclusion import OwnTraffic
from analytics_server.errors import ConfigError
from analytics_server.model import Site
from analytics_server.spelling.wildcards import Wildcards
from tests.collect.world import World, answered

EXCLUDED = {"excluded": 1}
VIEW = {"site": "a.example", "name": "pageview", "url": "https://www.a.example/admin/users?q=cats"}


def world_with(**settings: object) -> World:
    world = World(exclude_addresses=settings.pop("exclude_addresses", ()))
    site = Site(site_id="a.example")
    world.sites._sites["a.example"] = msgspec.structs.replace(site, **settings)
    return world


async def rule_of(world: World, beacon: object = VIEW, *, address: str = "192.0.2.1", token: str = "") -> str:
    """The rule that dropped the event, or "" where it was kept."""
    outcome = answered(await world.send(beacon, address=address, token=token))
    assert outcome["accepted"] + outcome["dropped"].get("excluded", 0) == 1
    assert len(world.events) == outcome["accepted"]
    return world.noted[-1][4] if outcome["dropped"] else ""


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, ""),
        ({"excluded_paths": ("/admin",)}, ""),
        ({"excluded_paths": ("/blog/*", "/admin/*")}, "path /admin/*"),
        ({"excluded_paths": ("/admin/users",)}, "path /admin/users"),
        ({"excluded_paths": ("/admin/users?q=c*",)}, "path /admin/users?q=c*"),
        ({"excluded_paths": ("/admin/users?q=d*",)}, ""),
        ({"excluded_hosts": ("a.example",)}, "host a.example"),
        ({"excluded_hosts": ("*.a.example",)}, "host *.a.example"),
        ({"excluded_hosts": ("b.example",)}, ""),
        ({"excluded_hosts": ("w*.a.*",)}, "host w*.a.*"),
        ({"excluded_props": ("plan=internal",)}, ""),
    ],
    ids=str,
)
async def test_a_page_is_excluded_by_its_path_and_host(settings: dict[str, object], rule: str) -> None:
    assert await rule_of(world_with(**settings)) == rule


@pytest.mark.parametrize(("value", "rule"), [(True, "prop beta=true"), ("true", "prop beta=true"), (False, "")])
async def test_an_event_is_excluded_by_a_property(value: object, rule: str) -> None:
    world = world_with(excluded_props=("beta=true",))

    assert await rule_of(world, {**VIEW, "props": {"beta": value}}) == rule


async def test_an_excluded_event_is_counted_by_its_reason_and_remembered_by_nothing() -> None:
    world = world_with(excluded_paths=("/admin/**",))
    event = {**VIEW, "event_id": "0197c6a0-0000-7000-8000-000000000001"}

    assert await rule_of(world, event) == "path /admin/**"
    assert world.sample("ingest_dropped_total", reason="excluded") == 1
    assert world.drops.of_site("a.example")[0].about == "The rule 'path /admin/**' excludes it."
    world.sites._sites["a.example"] = Site(site_id="a.example")
    assert await rule_of(world, event) == ""


async def test_a_path_is_compared_once_in_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    find = Wildcards.find

    def counted(self: Wildcards, text: str) -> int:
        compared.append(text)
        return find(self, text)

    monkeypatch.setattr(Wildcards, "find", counted)
    world = world_with(excluded_paths=("/admin/**", "/search?q=*"))
    paths = ("/blog", "/blog", "/admin/users", "/blog?q=1", "/blog", "/admin/users", "/search?q=1")
    outcome = answered(await world.send([{**VIEW, "url": f"https://a.example{path}"} for path in paths]))

    assert (outcome["accepted"], outcome["dropped"]) == (4, {"excluded": 3})
    assert sorted(compared) == ["/admin/users", "/blog", "/blog", "/blog?q=1", "/search", "/search?q=1"]


async def test_a_long_rule_is_shown_cut() -> None:
    rule = f"/admin/users{'*' * 200}"

    shown = await rule_of(world_with(excluded_paths=(rule,)))

    assert len(shown) == 100
    assert shown.endswith("…")


@pytest.mark.parametrize(
    ("ranges", "address", "excluded"),
    [
        (("192.0.2.0/24",), "192.0.2.77", True),
        (("192.0.2.0/24",), "192.0.3.1", False),
        (("2001:db8::/48",), "2001:db8::5", True),
        (("a.example=192.0.2.1",), "192.0.2.1", True),
        (("A.Example = 192.0.2.1",), "192.0.2.1", True),
        (("b.example=192.0.2.1",), "192.0.2.1", False),
    ],
)
async def test_own_traffic_is_excluded_by_address_and_no_address_is_shown(
    ranges: tuple[str, ...], address: str, excluded: bool
) -> None:
    rule = await rule_of(world_with(exclude_addresses=ranges), address=address)

    assert rule == ("address range of [collect] exclude_addresses" if excluded else "")


async def test_of_what_a_server_sends_the_address_that_it_tells_counts() -> None:
    world = world_with(exclude_addresses=("192.0.2.0/24",))

    assert await rule_of(world, {**VIEW, "user_id": "u1"}, token="collect", address="192.0.2.1") == ""
    told = {**VIEW, "ip": "192.0.2.9"}
    assert answered(await world.send(told, token="collect", address="198.51.100.1"))["dropped"] == {"excluded": 1}


async def test_a_country_rule_judges_visitors_and_no_server_that_tells_none(tmp_path: Path) -> None:
    path = tmp_path / "geo.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True)
    for network, country in (("8.8.8.0/24", "US"), ("8.8.4.0/24", "SE")):
        writer.insert_network(IPSet([network]), {"country": {"iso_code": country}})
    writer.to_db_file(str(path))
    world = World(geo=GeoLocator(str(path)))
    world.sites._sites["a.example"] = Site(site_id="a.example", excluded_countries=("US",))
    server, visitor = "8.8.8.8", {**VIEW, "user_id": "u1"}

    assert await rule_of(world, VIEW, address=server) == "country US"
    for beacon, dropped in ((visitor, {}), ({**visitor, "ip": "8.8.4.4"}, {}), ({**visitor, "ip": server}, EXCLUDED)):
        assert answered(await world.send(beacon, token="collect", address=server))["dropped"] == dropped
    python = {"user-agent": "python-requests/2.32"}
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"
    told = [
        visitor,
        {**visitor, "user_id": "u2", "ip": "8.8.4.4", "user_agent": phone},
        {**visitor, "user_agent": phone},
    ]
    world = World(geo=GeoLocator(str(path)))
    for number, beacon in enumerate(told):
        sent = {**beacon, "user_id": f"v{number}"}
        assert (await world.send(sent, token="collect", address=server, headers=python)).status == 202
    assert [(event["country"], event["device"]) for event in world.events] == [
        ("", ""),
        ("SE", "Mobile"),
        ("", "Mobile"),
    ]


@pytest.mark.parametrize("entry", ["192.0.2.0/99", "a.example=", "nonsense"])
def test_a_range_that_is_none_stops_the_start(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"\[collect\] exclude_addresses: .* is no address or network: write"):
        OwnTraffic((entry,))


async def test_a_site_has_a_rate_of_its_own_and_the_lower_one_counts() -> None:
    world = World(site_events_per_s=4)
    for site_id, rate in (("slow.example", 1), ("fast.example", 100), ("plain.example", 0)):
        world.sites._sites[site_id] = Site(site_id=site_id, events_per_s=rate)

    async def taken(site_id: str) -> int:
        answers = [await world.send({**VIEW, "site": site_id}) for _ in range(20)]
        return sum(answer.status == 202 for answer in answers)

    assert [await taken(site) for site in ("slow.example", "fast.example", "plain.example")] == [2, 8, 8]


async def test_a_site_s_own_rate_needs_none_of_the_server() -> None:
    world = world_with(events_per_s=1)

    assert [(await world.send(VIEW)).status for _ in range(3)] == [202, 202, 429]
