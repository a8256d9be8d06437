"""Places from both mmdb schemas, and a locator that outlives any state of its file."""

from __future__ import annotations

import gc
import os
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from analytics_server.collect.enrich.geo import COUNTRIES, NOWHERE, GeoLocator, GeoPlace

Record = dict[str, object]

MAXMIND: dict[str, Record] = {
    "81.2.69.0/24": {
        "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
        "subdivisions": [{"iso_code": "ENG", "names": {"en": "England", "de": "England (de)"}}],
        "city": {"names": {"en": "London", "de": "London (de)"}},
    },
    "8.8.8.0/24": {"country": {"iso_code": "us"}},
    "9.9.9.0/24": {"country": {"iso_code": "CH"}, "subdivisions": [{"iso_code": "ZH"}], "city": {"geoname_id": 1}},
    "10.9.0.0/16": {"registered_country": {"iso_code": "SE"}},
    "2001:4860::/32": {"country": {"iso_code": "US"}},
}
FLAT: dict[str, Record] = {
    "81.2.69.0/24": {"country_code": "GB", "state1": "England", "city": "London"},
    "8.8.8.0/24": {"country_code": "US"},
    "9.9.9.0/24": {"country": "CH", "region": "Zurich", "city": "Zurich"},
    "1.1.1.0/24": {"country_code": "AU", "city": "x" * 5_000},
    "2.2.2.0/24": {"country_code": "not a code", "city": "Nowhere"},
    "3.3.3.0/24": {"country_code": 42, "region": ["a"], "city": {"names": []}},
}


def _write(path: Path, networks: dict[str, Record], ip_version: int = 6) -> Path:
    writer = MMDBWriter(ip_version=ip_version, ipv4_compatible=ip_version == 6, database_type="Test-City")
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    new = path.with_suffix(".new")
    writer.to_db_file(str(new))
    os.replace(new, path)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return _write(tmp_path / "geo.mmdb", MAXMIND)


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        ("81.2.69.142", GeoPlace("GB", "England", "London")),
        ("8.8.8.8", GeoPlace("US", "", "")),
        ("9.9.9.9", GeoPlace("CH", "ZH", "")),
        ("10.9.1.1", GeoPlace("SE", "", "")),
        ("2001:4860:4860::8888", GeoPlace("US", "", "")),
        ("::ffff:81.2.69.142", GeoPlace("GB", "England", "London")),
        ("127.0.0.1", NOWHERE),
        ("192.168.1.1", NOWHERE),
        ("::1", NOWHERE),
    ],
)
def test_reads_maxminds_schema(database: Path, ip: str, place: GeoPlace) -> None:
    assert GeoLocator(database).locate(ip) == place


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        ("81.2.69.142", GeoPlace("GB", "England", "London")),
        ("8.8.8.8", GeoPlace("US", "", "")),
        ("9.9.9.9", GeoPlace("CH", "Zurich", "Zurich")),
        ("1.1.1.1", GeoPlace("AU", "", "x" * 100)),
        ("2.2.2.2", NOWHERE),
        ("3.3.3.3", NOWHERE),
    ],
)
def test_reads_flat_schemas(tmp_path: Path, ip: str, place: GeoPlace) -> None:
    assert GeoLocator(_write(tmp_path / "flat.mmdb", FLAT)).locate(ip) == place


@pytest.mark.parametrize(
    ("code", "country"),
    [
        *((code, code) for code in ("DE", "XK", "PS", "TW", "HK", "MO", "AQ", "BQ", "SX", "CW", "SS", "PR", "AX")),
        *(("de", "DE"), (" DE ", "DE")),
        # made up by geo files and proxies, user-assigned, or gone
        *((code, "") for code in ("EU", "AP", "A1", "A2", "O1", "T1", "XX", "ZZ", "AA", "QM", "XZ", "UK", "AN", "SU")),
        *((code, "") for code in ("", "D", "DEU", "--", "ÄÖ", "00")),
    ],
)
def test_a_country_is_one_of_iso_3166_or_none(tmp_path: Path, code: str, country: str) -> None:
    path = _write(tmp_path / "geo.mmdb", {"8.8.8.0/24": {"country": {"iso_code": code}}})

    assert GeoLocator(path).locate("8.8.8.8").country == country


def test_the_countries_are_those_that_answers_have_names_for() -> None:
    named = msgspec.json.decode(resources.files("analytics_server.spelling").joinpath("countries.json").read_bytes())

    assert set(named) == COUNTRIES


@pytest.mark.parametrize(
    "ip", ["", "unknown", "999.1.1.1", "8.8.8.8:443", "fe80::1%eth0", "\x00", "8.8.8.8\n", "::ffff:", "é", "1" * 10_000]
)
def test_garbage_is_nowhere(database: Path, ip: str) -> None:
    assert GeoLocator(database).locate(ip) == NOWHERE


def test_an_ipv6_address_in_an_ipv4_database_is_nowhere(tmp_path: Path) -> None:
    path = _write(tmp_path / "v4.mmdb", {"8.8.8.0/24": {"country_code": "US"}}, ip_version=4)
    locator = GeoLocator(path)
    assert locator.locate("2001:4860:4860::8888") == NOWHERE
    assert locator.locate("8.8.8.8").country == "US"


def test_no_path_means_no_places_and_no_error() -> None:
    locator = GeoLocator("")
    assert locator.locate("8.8.8.8") == NOWHERE
    assert not locator.reload_if_changed()
    assert locator.error == ""
    assert locator.info is None


def test_says_what_is_in_use(database: Path) -> None:
    info = GeoLocator(database).info
    assert info is not None
    assert info.type == "Test-City"
    assert info.built_at_s > 0
    assert info.size_bytes == database.stat().st_size


def test_a_missing_file_is_an_error_text_until_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "late.mmdb"
    locator = GeoLocator(path)
    assert "can't be read" in locator.error
    assert locator.locate("8.8.8.8") == NOWHERE
    _write(path, MAXMIND)
    assert locator.reload_if_changed()
    assert locator.error == ""
    assert locator.locate("8.8.8.8").country == "US"


def test_a_replaced_file_is_used_after_a_reload(database: Path) -> None:
    locator = GeoLocator(database)
    assert not locator.reload_if_changed()
    assert locator.locate("8.8.8.8").country == "US"
    _write(database, {"8.8.8.0/24": {"country": {"iso_code": "SE"}}})
    assert locator.locate("8.8.8.8").country == "US"
    assert locator.reload_if_changed()
    assert locator.locate("8.8.8.8").country == "SE"
    assert not locator.reload_if_changed()


@pytest.mark.parametrize("content", [b"", b"not a database", b"\x00" * 10_000, b"\xab\xcd\xefMaxMind.com"])
def test_a_corrupt_file_keeps_the_last_good_one_in_use(database: Path, content: bytes) -> None:
    locator = GeoLocator(database)
    database.write_bytes(content)
    assert not locator.reload_if_changed()
    assert "no usable mmdb file" in locator.error
    assert locator.locate("81.2.69.142").city == "London"
    assert not locator.reload_if_changed()
    _write(database, FLAT)
    assert locator.reload_if_changed()
    assert locator.error == ""
    assert locator.locate("9.9.9.9").city == "Zurich"


def test_a_file_truncated_or_overwritten_in_place_does_not_disturb_the_database_in_use(database: Path) -> None:
    locator = GeoLocator(database, cache_size=2)
    with database.open("r+b") as file:
        file.truncate(0)
    gc.collect()
    assert locator.locate("81.2.69.142").city == "London"
    assert locator.locate("2001:4860:4860::8888").country == "US"


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.99])
def test_a_half_copied_file_is_refused(database: Path, keep: float) -> None:
    whole = database.read_bytes()
    database.write_bytes(whole[: int(len(whole) * keep)])
    locator = GeoLocator(database)
    assert locator.error != ""
    assert locator.locate("8.8.8.8") == NOWHERE


def test_damage_inside_the_data_costs_places_not_events(database: Path) -> None:
    whole = bytearray(database.read_bytes())
    end = whole.rindex(b"\xab\xcd\xefMaxMind.com")
    start = whole.index(b"iso_code") - 20
    whole[start:end] = b"\xff" * (end - start)
    database.write_bytes(whole)
    locator = GeoLocator(database)
    for ip in ("81.2.69.142", "8.8.8.8", "2001:4860:4860::8888"):
        assert locator.locate(ip) == NOWHERE
    assert "damaged" in locator.error


def test_no_address_is_kept(database: Path) -> None:
    locator = GeoLocator(database)
    address = "81.2.69." + str(142)
    locator.locate(address)
    opened = locator._opened
    assert opened is not None
    assert len(opened.places) == 1
    assert address not in repr(opened.places.young)
    assert all(isinstance(key, int) for key in opened.places.young)


def test_the_cache_is_bounded_and_starts_empty_after_a_reload(database: Path) -> None:
    locator = GeoLocator(database, cache_size=10)
    for last in range(200):
        locator.locate(f"8.8.8.{last}")
    assert locator._opened is not None
    assert 0 < len(locator._opened.places) <= 10
    os.utime(database, ns=(1, 1))
    assert locator.reload_if_changed()
    assert len(locator._opened.places) == 0


def test_no_snapshot_is_left_behind(database: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    locator = GeoLocator(database, scratch_dir=scratch)
    assert locator.locate("8.8.8.8").country == "US"
    assert list(scratch.iterdir()) == []


def test_a_closed_locator_knows_no_place(database: Path) -> None:
    locator = GeoLocator(database)
    locator.close()
    assert locator.locate("8.8.8.8") == NOWHERE
