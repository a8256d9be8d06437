"""Text blocks for a privacy notice and for the record of processing activities, made of what a site is set to.

Drafts for the operator's lawyer. What only the operator knows stands in square brackets.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics_server.model import Site
from analytics_server.profiles.switches import CollectedKind, SiteProfile
from analytics_server.profiles.tables import STANDARD

DNT, GPC = "Do Not Track", "Global Privacy Control"

_KINDS = (
    (CollectedKind.SOURCE, "where the visit came from"),
    (CollectedKind.CAMPAIGN, "campaign tags in the address"),
    (CollectedKind.SCREEN, "the size of the screen"),
    (CollectedKind.SCROLL, "how far pages are scrolled"),
    (CollectedKind.ENGAGEMENT, "how long pages are looked at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What a site does with data, as far as the texts tell it.

    `kept_events`, `kept_totals`: in words; the second is "" where totals of days are kept no longer than events.
    `services`, `readers`: lines of `recipients.py`. `archived`: are events written to files of days? `respects_dnt`,
    `respects_gpc`: does the server drop events of browsers with the signal? `hashes`: are visitors told apart?
    `places`: is there a file of places? `audit_days`: 0 for always.
    """

    site: Site
    profile: SiteProfile
    kept_events: str
    kept_totals: str = ""
    services: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    archived: bool = False
    respects_dnt: bool = True
    respects_gpc: bool = True
    hashes: bool = True
    places: bool = False
    audit_days: int = 0


def privacy_notice(practice: Practice) -> str:
    """What visitors are told, as plain text."""
    profile = practice.profile
    parts = [
        f"Measuring the audience of {practice.site.site_id}",
        "We count visits to this website with a program that we run ourselves ([name and address of the operator])."
        f" It stores for each visit: {_collected(practice)}."
        " [If they are sent:] It also stores what is done on the pages: clicks, forms, purchases, the variant of an"
        " experiment, and [what your application adds].",
        "No cookie is set and nothing is stored on your device for this. " + _use_of_address(practice),
    ]
    if profile.by_user:
        parts.append("[If you send user ids:] When you are signed in, the id of your account is stored with the visit.")
    if profile.script:
        parts.append(
            "[If session ids are sent, as the client library does:] A random number that the page keeps in memory while"
            " it is open is stored with the visit, and tells which events belong together."
        )
    else:
        parts.append(
            "Nothing is read from your device: we count only what your browser sends with each request [and what our"
            " own servers report]."
        )
    parts += [
        _keeping(practice),
        _passing_on(practice),
        _objection(practice),
        f"Legal basis: [{_basis(profile)}].",
    ]
    return "\n\n".join(parts)


def processing_record(practice: Practice) -> str:
    """An entry for the record of processing activities (Art. 30 GDPR), as plain text."""
    profile, services, readers = practice.profile, practice.services, practice.readers
    rows = (
        ("Processing activity", f"Audience measurement of {practice.site.site_id}"),
        ("Controller", "[name and contact details; data-protection officer]"),
        (
            "Purpose",
            "Statistics on the use of the website" + ("" if profile.name == STANDARD else " [and nothing else]"),
        ),
        ("Legal basis", f"[{_basis(profile)}]"),
        (
            "Persons concerned",
            "Visitors of the website; people who sign in to the program, whose names and mail addresses it keeps",
        ),
        ("Categories of data", _categories(practice)),
        (
            "Recipients",
            (f"Numbers without lists of single visits: {'; '.join(readers)}" if readers else "The program names none")
            + "; [people and tokens with access: see the audit log; the provider of an assistant that asks by /mcp"
            + ("; who reads the files of days" if practice.archived else "")
            + "]",
        ),
        (
            "Sub-processors",
            f"[{'; '.join(services)}: strike out what you run yourself]; [who hosts the server and its backups]"
            if services
            else "None that the settings name; [who hosts the server and its backups]",
        ),
        (
            "Transfers to third countries",
            "[where the server"
            + (", the services above" if services else "")
            + (", those who are shown the numbers" if readers else "")
            + " and its backups are]",
        ),
        ("Time limits for erasure", _time_limits(practice)),
        (
            "Technical and organisational measures",
            "Addresses and user agents are not stored; "
            + ("hashes keyed with a daily random salt" if practice.hashes else "no hash of visitors is made")
            + "; roles and tokens per site; hash-chained audit log;"
            f" profile {profile.name or practice.site.profile}; [encryption of the disk, backups, logs of proxies]",
        ),
    )
    return "\n".join(f"{name}: {text}." for name, text in rows)


def _collected(practice: Practice) -> str:
    left_out = practice.profile.left_out
    collected = ["the page and its title", "browser, operating system and kind of device", "the language"]
    collected += [text for kind, text in _KINDS if kind not in left_out]
    if practice.places:
        collected.append(f"the {_place(practice.profile)} that the network address belongs to")
    return f"{', '.join(collected[:-1])}, and {collected[-1]}"


def _place(profile: SiteProfile) -> str:
    if CollectedKind.REGION in profile.left_out:
        return "country"
    return "country and region" if CollectedKind.CITY in profile.left_out else "country, region and city"


def _use_of_address(practice: Practice) -> str:
    if not practice.hashes:
        return (
            "Your network address and your browser's identification (user agent) are used for an instant, to read the"
            " facts above from them and to refuse misuse; neither is stored, and no number is made of them that tells"
            " visitors apart."
        )
    cut = practice.profile.shortened_bytes
    shortened = f" (the address without its last {cut} bytes)" if cut else ""
    return (
        "Your network address and your browser's identification (user agent) are used for an instant, to read the facts"
        f" above from them and{shortened} to make a random-looking number, which tells the visitors of one day apart."
        " The key to it is destroyed after 48 hours at the latest; neither address nor identification is stored."
    )


def _keeping(practice: Practice) -> str:
    text = f"The data is kept {_for(practice.kept_events)}."
    if practice.kept_totals:
        text += f" Counts of each day, which identify nobody, are kept {_for(practice.kept_totals)}."
    if practice.archived:
        text += (
            " Files with the single events of each day are written besides, and are kept [how long; the program does"
            " not delete them]."
        )
    return text


def _passing_on(practice: Practice) -> str:
    hosts = "".join(f"{line}; " for line in practice.services)
    text = f"It is processed for us by [name who runs the following, unless you do yourself: {hosts}the server itself]."
    files = " [Name who reads the files of days.]" if practice.archived else ""
    if not practice.readers:
        return f"{text} Its numbers are shown to nobody else but [people and programs that you gave access].{files}"
    return (
        f"{text} Its numbers, without lists of single visits, are shown to {'; and to '.join(practice.readers)}."
        f" Besides, [people and programs that you gave access] see them.{files}"
    )


def _objection(practice: Practice) -> str:
    respected = [name for name, is_on in ((DNT, practice.respects_dnt), (GPC, practice.respects_gpc)) if is_on]
    ignored = [name for name in (DNT, GPC) if name not in respected]
    ways = [f"switch on {' or '.join(respected)} in your browser, and you are not counted"] if respected else []
    if practice.profile.script:
        ways.append(
            "[use the switch of this site, if it has one (data-opt-out): a refusal alone is stored in your browser, and"
            " only when you choose it]"
        )
    ways.append("write to [address for objections]")
    text = f"You can object: {'; '.join(ways[:-1])}{'; or ' if ways[:-1] else ''}{ways[-1]}."
    if respected:
        text += (
            " [Events that your own servers send are left out only if they pass the browser's signal on: see to that,"
            " or say so here.]"
        )
    if ignored:
        text += f" {' and '.join(ignored)} of your browser {'are' if ignored[1:] else 'is'} not respected"
        text += " [but by the program's own script, which sends nothing then]." if practice.profile.script else "."
    return text


def _categories(practice: Practice) -> str:
    found = ["user ids where the application sends them"] if practice.profile.by_user else []
    if practice.hashes:
        found.append("daily pseudonymous visitor hashes")
    found.append(f"sessions and events with page{', browser and place' if practice.places else ' and browser'}")
    found.append("[what the application adds to events]")
    return "; ".join(found)


def _time_limits(practice: Practice) -> str:
    found = [f"Events: {practice.kept_events}"]
    if practice.kept_totals:
        found.append(f"Counts of each day: {practice.kept_totals}")
    if practice.archived:
        found.append("Files of days: [the program does not delete them]")
    if practice.hashes:
        found.append("Salts of the hashes: 48 hours at most")
    found.append("Counts of drops: 30 days")
    found.append(f"Audit log: {f'{practice.audit_days} days' if practice.audit_days else 'always'}")
    return ". ".join(found)


def _for(kept: str) -> str:
    return kept if kept.startswith("until") else f"for {kept}"


def _basis(profile: SiteProfile) -> str:
    return "; ".join(profile.sources) or "to be chosen by the operator"
