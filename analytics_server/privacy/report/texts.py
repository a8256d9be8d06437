"""Text blocks for a privacy notice and for the record of processing activities, made of what a site is set to.

Drafts for the operator's lawyer. What only the operator knows stands in square brackets.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.model import Site
from analytics_server.profiles.switches import CollectedKind, SiteProfile
from analytics_server.profiles.tables import STANDARD

_KINDS = (
    (CollectedKind.SOURCE, "where the visit came from"),
    (CollectedKind.CAMPAIGN, "campaign tags in the address"),
    (CollectedKind.SCREEN, "the size of the screen"),
    (CollectedKind.SCROLL, "how far pages are scrolled"),
    (CollectedKind.ENGAGEMENT, "how long pages are looked at"),
)


def privacy_notice(site: Site, profile: SiteProfile, kept: str, others: Sequence[str]) -> str:
    """What visitors are told, as plain text."""
    collected = ["the page and its title", "browser, operating system and kind of device", "the language"]
    collected += [text for kind, text in _KINDS if kind not in profile.left_out]
    parts = [
        f"Measuring the audience of {site.site_id}",
        "We count visits to this website with a program that we run ourselves ([name and address of the operator])."
        f" It stores for each visit: {', '.join(collected)}, and the {_place(profile)} that the network address belongs"
        " to.",
        "No cookie is set and nothing is stored on your device for this. Your network address and your browser's name"
        f" are used for an instant{_shortened(profile)} to make a random-looking number, which tells visits of one day"
        " apart. The key to it is destroyed after 48 hours at the latest; neither address nor browser name is stored.",
    ]
    if profile.by_user:
        parts.append("[If you send user ids:] When you are signed in, the id of your account is stored with the visit.")
    if not profile.script:
        parts.append("Nothing is read from your device: we count only what your browser sends with each request.")
    parts += [
        f"The data is kept {_for(kept)}. " + _passed_on(others),
        "You can object: switch on Do Not Track or Global Privacy Control in your browser, and you are not counted;"
        " [use the switch of this site, if it has one: a refusal alone is stored in your browser, and only when you"
        " choose it;] or write to [address for objections].",
        f"Legal basis: [{_basis(profile)}].",
    ]
    return "\n\n".join(parts)


def processing_record(site: Site, profile: SiteProfile, kept: str, others: Sequence[str]) -> str:
    """An entry for the record of processing activities (Art. 30 GDPR), as plain text."""
    personal = "user ids where the application sends them; " if profile.by_user else ""
    rows = (
        ("Processing activity", f"Audience measurement of {site.site_id}"),
        ("Controller", "[name and contact details; data-protection officer]"),
        (
            "Purpose",
            "Statistics on the use of the website" + ("" if profile.name == STANDARD else ", for nothing else"),
        ),
        ("Legal basis", f"[{_basis(profile)}]"),
        ("Persons concerned", "Visitors of the website"),
        ("Categories of data", f"{personal}daily pseudonymous visitor hashes; events with page, browser and place"),
        ("Recipients", "None outside the controller; [people with access: see the audit log]"),
        ("Sub-processors", f"[{'; '.join(others)}: strike out what you run yourself]" if others else "None"),
        ("Transfers to third countries", "None by the program; [where the server stands]"),
        ("Time limits for erasure", f"Events: {kept}. Salts of the hashes: 48 hours at most. Counts of drops: 30 days"),
        (
            "Technical and organisational measures",
            "Addresses and user agents are not stored; hashes keyed with a daily random salt; roles and tokens per"
            f" site; hash-chained audit log; profile {profile.name or site.profile}; [encryption of the disk, backups]",
        ),
    )
    return "\n".join(f"{name}: {text}." for name, text in rows)


def _place(profile: SiteProfile) -> str:
    if CollectedKind.REGION in profile.left_out:
        return "country"
    return "country and region" if CollectedKind.CITY in profile.left_out else "country, region and city"


def _passed_on(others: Sequence[str]) -> str:
    if not others:
        return "It is not passed on, and no processor outside our control has it."
    return f"It is not passed on. [Name here who runs the following, unless you do yourself: {'; '.join(others)}.]"


def _shortened(profile: SiteProfile) -> str:
    return f" (the address without its last {profile.shortened_bytes} bytes)" if profile.shortened_bytes else ""


def _for(kept: str) -> str:
    return kept if kept.startswith("until") else f"for {kept}"


def _basis(profile: SiteProfile) -> str:
    return "; ".join(profile.sources) or "to be chosen by the operator"
