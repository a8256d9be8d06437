"""Referrer enrichment: names the source behind a referrer's host or a campaign tag; a site's own hosts are none.

The names are those of `spelling/source_names`. A source that is not listed goes by its host without `www.`, kind
"referral".
"""

from __future__ import annotations

from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.spelling.host_names import AllowedHosts, host_name
from analytics_server.spelling.source_names import DIRECT, Referrer, SourceNames, Sources

CACHED_HOSTS = 8_192
CACHED_SITES = 1_024
REFERRAL = "referral"


class ReferrerClassifier:
    """Looks hosts and campaign sources up; remembers the answers by host."""

    __slots__ = ("_clicks", "_known", "_names", "_own", "is_known", "named")

    def __init__(self, sources: Sources, cache_size: int = CACHED_HOSTS) -> None:
        self._known: GenerationCache[str, Referrer] = GenerationCache(cache_size)
        self._own: GenerationCache[tuple[str, ...], AllowedHosts] = GenerationCache(CACHED_SITES)
        self._names = names = SourceNames(sources)
        self.is_known, self.named = names.is_known, names.named
        self._clicks = {
            key: (names.by_name[click.source]._replace(medium=click.medium), frozenset((click.source, *click.also)))
            for key, click in sources.click_ids.items()
        }

    def classify(self, host: str, page_hostname: str = "", allowed_hosts: tuple[str, ...] = ()) -> Referrer:
        """The source behind a referrer's host; `DIRECT` for none, and for the page's and the site's own hosts."""
        if not host or (page_hostname and host_name(host) == host_name(page_hostname)):
            return DIRECT
        if allowed_hosts and self.own_hosts(allowed_hosts).hold(host):
            return DIRECT
        referrer = self._known.get(host)
        if referrer is None:
            referrer = self._names.look_up(host) or Referrer(host_name(host), REFERRAL)
            self._known.put(host, referrer)
        return referrer

    def clicked(self, click_id_kind: str, found: Referrer) -> Referrer:
        """The source, now that a click id of this kind is known too; it names one where there is none."""
        click = self._clicks.get(click_id_kind)
        if click is None:
            return found
        network, sources = click
        if found is DIRECT:
            return network
        if not found.kind:
            return found._replace(kind=network.kind, medium=network.medium)
        if network.kind in ("email", "affiliate") or (found.name in sources and not found.medium):
            return found._replace(medium=network.medium)
        return found

    def own_hosts(self, allowed_hosts: tuple[str, ...]) -> AllowedHosts:
        """The hosts that a site allows, read once."""
        found = self._own.get(allowed_hosts)
        if found is None:
            found = AllowedHosts(allowed_hosts)
            self._own.put(allowed_hosts, found)
        return found
