"""The exclusion step: leaves out what a site's rules say, and own traffic by address.

Constraint: an event of a site without rules pays for a look at four empty tuples. What is told of a drop is the rule,
never the event's address.
"""

from __future__ import annotations

from collections.abc import Iterable

from analytics_server.collect.address import AddressRanges
from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import EventContext, Run, tells_visitor
from analytics_server.collect.steps.verdict import Drop, Verdict
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.errors import ConfigError
from analytics_server.model import Site, stored_site_id
from analytics_server.spelling.host_names import AllowedHosts, host_name
from analytics_server.spelling.wildcards import Wildcards

CACHED_SITES = 1_024
SHOWN_CHARS = 100
"""Of a rule, where a drop is told."""

PROPS = -1
"""The place of the properties in an event's details: the last column."""

_OWN_TRAFFIC = "address range of [collect] exclude_addresses"


def _excluded(rule: str) -> Drop:
    shown = rule if len(rule) <= SHOWN_CHARS else f"{rule[: SHOWN_CHARS - 1]}…"
    return Drop(DropReason.EXCLUDED, f"The rule {shown!r} excludes it.", example=shown)


class SiteExclusions:
    """A site's rules, read once."""

    __slots__ = ("_countries", "_hosts", "_paths", "_props", "_whole_paths")

    def __init__(self, site: Site) -> None:
        self._paths = _Patterns((rule for rule in site.excluded_paths if "?" not in rule), slashes=True)
        self._whole_paths = _Patterns((rule for rule in site.excluded_paths if "?" in rule), slashes=True)
        self._hosts = site.excluded_hosts and _Hosts(site.excluded_hosts)
        self._countries = frozenset(site.excluded_countries)
        pairs = (rule.partition("=") for rule in site.excluded_props)
        self._props = [(key, value) for key, _, value in pairs]

    def rule_of(self, event: EventContext, run: Run, parts: Parts) -> str:
        """The first rule that excludes the event, as it is shown; "" if none does."""
        page = event.page
        path, seen = page.path, run.path_rules
        if path and (
            rule := self._paths.look_up(path.partition("?")[0], seen) or self._whole_paths.look_up(path, seen)
        ):
            return f"path {rule}"
        if self._hosts and page.hostname and (rule := self._hosts.find(page.hostname)):
            return f"host {rule}"
        if (
            self._countries
            and tells_visitor(event, run)
            and (country := parts.geo.locate(event.address).country) in self._countries
        ):
            return f"country {country}"
        if self._props and isinstance(props := event.details[PROPS], dict):
            for key, value in self._props:
                if props.get(key) == value:
                    return f"prop {key}={value}"
        return ""


class _Patterns:
    __slots__ = ("_rules", "_wildcards")

    def __init__(self, rules: Iterable[str], *, slashes: bool) -> None:
        self._rules = tuple(rules)
        self._wildcards = Wildcards(self._rules, slashes=slashes)

    def find(self, text: str) -> str:
        if not self._rules:
            return ""
        at = self._wildcards.find(text)
        return "" if at < 0 else self._rules[at]

    def look_up(self, text: str, seen: dict[tuple[object, str], str]) -> str:
        """`find`, which remembers in `seen`: the events of a request are often on one page."""
        if not self._rules:
            return ""
        rule = seen.get((self, text))
        if rule is None:
            rule = seen[self, text] = self.find(text)
        return rule


class _Hosts:
    """Hosts by name with all their spellings, as `allowed_hosts` are read; those with `*` elsewhere as patterns."""

    __slots__ = ("_named", "_patterns")

    def __init__(self, rules: tuple[str, ...]) -> None:
        self._named = [(rule, AllowedHosts((rule,))) for rule in rules if "*" not in rule.removeprefix("*.")]
        self._patterns = _Patterns((rule for rule in rules if "*" in rule.removeprefix("*.")), slashes=False)

    def find(self, host: str) -> str:
        for rule, hosts in self._named:
            if hosts.hold(host):
                return rule
        return self._patterns.find(host) or self._patterns.find(host_name(host))


class OwnTraffic:
    """The address ranges of `[collect] exclude_addresses`: of all sites, and `site=range` of one.

    Raises `ConfigError`.
    """

    __slots__ = ("_of_all", "_of_site")

    def __init__(self, entries: Iterable[str]) -> None:
        by_site: dict[str, list[str]] = {}
        for entry in entries:
            site, _, text = entry.rpartition("=")
            by_site.setdefault(stored_site_id(site), []).append(text.strip())
        try:
            ranges = {site: AddressRanges(texts) for site, texts in by_site.items()}
        except ValueError as error:
            raise ConfigError(
                f"[collect] exclude_addresses: {error}: write 192.0.2.0/24, or example.com=192.0.2.0/24 for one site."
            ) from error
        self._of_all = ranges.pop("", AddressRanges(()))
        self._of_site = ranges

    def __bool__(self) -> bool:
        return bool(self._of_all or self._of_site)

    def hold(self, site_id: str, address: str) -> bool:
        """Is it one of the operator's own addresses, for that site?"""
        own = self._of_site.get(stored_site_id(site_id)) if self._of_site else None
        return address in self._of_all or (own is not None and address in own)


def make_exclusion(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Drop what a rule of the site or an address range of the config excludes."""
    known: GenerationCache[tuple[tuple[str, ...], ...], SiteExclusions] = GenerationCache(CACHED_SITES)
    own_traffic = OwnTraffic(settings.exclude_addresses)
    as_own_traffic = _excluded(_OWN_TRAFFIC)

    def rules_of(site: Site) -> SiteExclusions:
        key = (site.excluded_paths, site.excluded_hosts, site.excluded_countries, site.excluded_props)
        found = known.get(key)
        if found is None:
            found = SiteExclusions(site)
            known.put(key, found)
        return found

    def of_site(event: EventContext, run: Run) -> Verdict:
        site = event.site
        if not (site.excluded_paths or site.excluded_hosts or site.excluded_countries or site.excluded_props):
            return None
        rule = rules_of(site).rule_of(event, run, parts)
        return _excluded(rule) if rule else None

    def of_both(event: EventContext, run: Run) -> Verdict:
        if tells_visitor(event, run) and own_traffic.hold(event.site_id, event.address):
            return as_own_traffic
        return of_site(event, run)

    return of_both if own_traffic else of_site
