"""Geo enrichment: country, region and city of an address, from an mmdb file that the operator provides.

Reads MaxMind's schema (`country.iso_code`, `subdivisions`, `city.names`) and the flat
ones (`country_code` or `country`, `state1` or `region`, `city`). The database is opened
as a private snapshot of the file, because a mapped file that is overwritten in place
kills the process that reads it. A missing or broken file costs the places, never an
event: the last good database stays in use and `error` says what is wrong.

Addresses never leave this module's stack: they aren't logged, and the cache is keyed
by Python's string hash, which is keyed with the process's own random secret (SipHash),
so that not even a memory dump's cache lists them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import maxminddb

from analytics_server.collect.enrich.cache import GenerationCache

CACHED_ADDRESSES = 16_384
NAME_CHARS = 100
_CODES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA
    CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA
    GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
    KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS
    MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS
    RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW
    TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""
COUNTRIES = frozenset(_CODES.split())
"""ISO 3166-1 alpha-2, and Kosovo's XK, which all geo files use."""

Signature = tuple[int, int, int]


class GeoPlace(NamedTuple):
    """`country` is an ISO 3166-1 alpha-2 code; names are English where there is a choice."""

    country: str = ""
    region: str = ""
    city: str = ""


NOWHERE = GeoPlace()
_COUNTRIES_ALONE = {code: GeoPlace(code) for code in COUNTRIES}
"""Where a file knows countries only: shared, not made for each address."""


class DatabaseInfo(NamedTuple):
    """What doctor and the start-up line say of the database in use."""

    type: str
    built_at_s: int
    size_bytes: int


class _Opened(NamedTuple):
    reader: maxminddb.Reader
    info: DatabaseInfo
    places: GenerationCache[int, GeoPlace]


class GeoLocator:
    """Looks addresses up in the file at `path`; "" means there is none and that is no error.

    Construction reads the file. `reload_if_changed` may run in another thread.
    `scratch_dir` must be writable: the snapshot lies there, already unlinked.
    """

    def __init__(
        self, path: str | Path, cache_size: int = CACHED_ADDRESSES, scratch_dir: str | Path | None = None
    ) -> None:
        self._path = str(path)
        self._scratch_dir = scratch_dir
        self._cache_size = cache_size
        self._opened: _Opened | None = None
        self._seen: Signature | None = None
        self.error = ""
        """Why the file can't be used, or "": for one log line and for doctor."""
        self.reload_if_changed()

    @property
    def info(self) -> DatabaseInfo | None:
        """The database in use, or None."""
        return self._opened.info if self._opened else None

    def locate(self, ip: str) -> GeoPlace:
        """The place of an address; `NOWHERE` for one that is unknown, private or garbage."""
        opened = self._opened
        if opened is None:
            return NOWHERE
        key = hash(ip)
        place = opened.places.get(key)
        if place is None:
            place = self._look_up(opened.reader, ip)
            opened.places.put(key, place)
        return place

    def reload_if_changed(self) -> bool:
        """Open the file if it is another one than before; True if a new database is in use now."""
        if not self._path:
            return False
        try:
            signature = _signature(self._path)
        except OSError as error:
            self._seen = None
            self.error = f"The geo database {self._path} can't be read: {error.strerror}."
            return False
        if signature == self._seen:
            return False
        try:
            opened = self._open()
        except (OSError, maxminddb.InvalidDatabaseError, ValueError) as error:
            self._seen = signature
            self.error = f"The geo database {self._path} is no usable mmdb file: {error}."
            return False
        self._opened, self._seen, self.error = opened, signature, ""
        return True

    def close(self) -> None:
        """Let go of the database; all places are unknown from now on."""
        self._opened = None
        self._seen = None

    def _open(self) -> _Opened:
        if self._scratch_dir is not None:
            Path(self._scratch_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="geo-", suffix=".mmdb", dir=self._scratch_dir) as snapshot:
            with open(self._path, "rb") as source:
                shutil.copyfileobj(source, snapshot, 1 << 20)
            snapshot.flush()
            reader = maxminddb.open_database(snapshot.name)
            size = os.fstat(snapshot.fileno()).st_size
        about = reader.metadata()
        reader.get("192.0.2.1")
        info = DatabaseInfo(about.database_type, about.build_epoch, size)
        return _Opened(reader, info, GenerationCache(self._cache_size))

    def _look_up(self, reader: maxminddb.Reader, ip: str) -> GeoPlace:
        address = ip[7:] if ip.startswith("::ffff:") and "." in ip else ip
        try:
            record = reader.get(address)
        except (ValueError, TypeError):
            return NOWHERE
        except maxminddb.InvalidDatabaseError as error:
            self.error = f"The geo database {self._path} is damaged: {error}."
            return NOWHERE
        return _place(record) if isinstance(record, dict) else NOWHERE


def _signature(path: str) -> Signature:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _place(record: dict[str, object]) -> GeoPlace:
    country = _country(record)
    if not country:
        return NOWHERE
    if len(record) == 1:
        return _COUNTRIES_ALONE[country]
    return tuple.__new__(GeoPlace, (country, _region(record), _name(record.get("city"))))  # a third of the time


def _country(record: dict[str, object]) -> str:
    for key in ("country", "country_code", "registered_country"):
        value = record.get(key)
        code = value.get("iso_code") if isinstance(value, dict) else value
        if isinstance(code, str) and (country := _country_code(code)):
            return country
    return ""


@lru_cache(1_024)
def _country_code(code: str) -> str:
    """In capitals; empty when it is none: some files have made-up ones for proxies and regions (A1, AP, EU, T1)."""
    code = code.strip().upper()
    return code if code in COUNTRIES else ""


def _region(record: dict[str, object]) -> str:
    subdivisions = record.get("subdivisions")
    if isinstance(subdivisions, list) and subdivisions:
        return _name(subdivisions[0])
    for key in ("state1", "region", "region_name"):
        if (value := record.get(key)) and (name := _name(value)):
            return name
    return ""


def _name(value: object) -> str:
    """A name as text, or as MaxMind's `{"names": {"en": …}, "iso_code": …}`."""
    if isinstance(value, dict):
        names = value.get("names")
        english = names.get("en") if isinstance(names, dict) else None
        value = english or value.get("iso_code")
    return value[:NAME_CHARS] if isinstance(value, str) else ""
