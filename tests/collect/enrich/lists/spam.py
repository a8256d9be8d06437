"""Renews the list of spam referrers: `python -m tests.collect.enrich.lists.spam FILE…`, as `make spam-referrers` does.

A file has a host a line, as the community's public-domain list of referrer spammers has. Hosts are added to those that
are there; one of which a well-known host is part, or that is the host of a known source, is left out and named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from analytics_server.collect.enrich.referrer import REFERRAL, ReferrerClassifier
from analytics_server.spelling.host_names import host_name
from analytics_server.spelling.source_names import SPAM_HOSTS, Sources, load_sources, spam_hosts
from tests.collect.enrich.lists import FOLDER

PACKED = Path(__file__).parents[4] / "analytics_server" / "spelling" / SPAM_HOSTS


def well_known() -> list[str]:
    """Hosts of real sites, and of services below whose names real sites are."""
    return (FOLDER / "well_known_hosts.txt").read_text(encoding="utf-8").split()


def without_spam() -> Sources:
    """The known sources alone."""
    sources = load_sources()
    kinds = {kind: names for kind, names in sources.kinds.items() if kind != "spam"}
    return Sources(kinds=kinds, aliases=sources.aliases, ad_products=sources.ad_products, click_ids=sources.click_ids)


def false_positives(hosts: Iterable[str]) -> set[str]:
    """Those that would take a real site for spam."""
    real = {".".join(labels[at:]) for host in well_known() for labels in [host.split(".")] for at in range(len(labels))}
    known = ReferrerClassifier(without_spam())
    return {host for host in hosts if host in real or "." not in host or known.classify(host).kind != REFERRAL}


def main() -> None:
    """For the command line."""
    packed = PACKED.read_text(encoding="utf-8")
    head = "".join(line for line in packed.splitlines(keepends=True) if line.startswith("#"))
    given = [line for name in sys.argv[1:] for line in Path(name).read_text(encoding="utf-8").splitlines()]
    hosts = {
        *spam_hosts(packed),
        *(host_name(line.strip().lower()) for line in given if line.strip()[:1] not in ("", "#")),
    }
    left_out = false_positives(hosts)
    PACKED.write_text(head + "".join(f"{host}\n" for host in sorted(hosts - left_out)), encoding="utf-8")
    print(f"{len(hosts - left_out)} hosts; left out as real ones: {', '.join(sorted(left_out)) or 'none'}")


if __name__ == "__main__":
    main()
