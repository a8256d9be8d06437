"""Channel enrichment: groups a session's origin as Google Analytics 4 does, first match wins.

The rules and their order follow GA4's default channel group
(https://support.google.com/analytics/answer/9756891); AI assistants stand before
organic search. What differs on purpose, for no ads account is linked here: the name of an ad product and a click id
stand for a medium where none was given; a medium that names a channel of its own (email, affiliate, audio, sms, push)
goes before the kind of the source; there is no "Unassigned": a session with a named source that matches no rule is a
Referral, one without any is Direct.
"""

from __future__ import annotations

import re
from enum import StrEnum

from analytics_server.collect.enrich.campaign import NO_CAMPAIGN, Campaign
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.spelling.source_names import DIRECT, Referrer


class Channel(StrEnum):
    """GA4's channels in the order they are tried; the value is stored and shown."""

    CROSS_NETWORK = "Cross-network"
    PAID_SHOPPING = "Paid Shopping"
    PAID_SEARCH = "Paid Search"
    PAID_SOCIAL = "Paid Social"
    PAID_VIDEO = "Paid Video"
    DISPLAY = "Display"
    PAID_OTHER = "Paid Other"
    ORGANIC_SHOPPING = "Organic Shopping"
    ORGANIC_SOCIAL = "Organic Social"
    ORGANIC_VIDEO = "Organic Video"
    AI_ASSISTANTS = "AI Assistants"
    ORGANIC_SEARCH = "Organic Search"
    EMAIL = "Email"
    AFFILIATES = "Affiliates"
    AUDIO = "Audio"
    SMS = "SMS"
    MOBILE_PUSH = "Mobile Push Notifications"
    REFERRAL = "Referral"
    DIRECT = "Direct"


_PAID = re.compile(r".*cp.*|ppc|retargeting|remarketing|paid.*|(?:.*[^a-z])?ads?|adwords|sem", re.DOTALL)
_SHOPPING_CAMPAIGN = re.compile(r"(?:^|[^a-df-z])shop|shopping")
_DISPLAY = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_SOCIAL = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_EMAIL = frozenset(
    {"email", "e-mail", "e_mail", "e mail", "emailing", "mail", "mailing", "newsletter", "newsletters", "news-letter"}
)
_AFFILIATES = frozenset({"affiliate", "affiliates"})
_NO_MEDIUM = frozenset({"none", "(none)", "(not set)", "null", "undefined"})
_REFERRAL = frozenset({"referral", "app", "link"})
_AI = frozenset({"ai-assistant"})

_PAID_KINDS = {"search": Channel.PAID_SEARCH, "social": Channel.PAID_SOCIAL, "video": Channel.PAID_VIDEO}
_BY_KIND_ALONE = {
    "": Channel.REFERRAL,
    "direct": Channel.DIRECT,
    "shopping": Channel.ORGANIC_SHOPPING,
    "social": Channel.ORGANIC_SOCIAL,
    "video": Channel.ORGANIC_VIDEO,
    "ai": Channel.AI_ASSISTANTS,
    "search": Channel.ORGANIC_SEARCH,
    "email": Channel.EMAIL,
    "affiliate": Channel.AFFILIATES,
    "referral": Channel.REFERRAL,
    "spam": Channel.REFERRAL,
}


def source(campaign: Campaign, referrer: Referrer, classifier: ReferrerClassifier) -> Referrer:
    """The session's source: `utm_source`, else a known referrer, else `ref` or `source`, else any referrer.

    Where none of them says anything, a click id names its network, unless the medium speaks of something else. Without
    any it is `DIRECT`, stored as "Direct" and not as "", so that reports read well.
    """
    found = referrer
    if campaign.utm_source:
        found = classifier.named(campaign.utm_source)
    elif campaign.ref and not classifier.is_known(referrer):
        found = classifier.named(campaign.ref)
    if found is DIRECT:
        found = referrer
    if campaign.click_id_kind:
        medium = _explicit_medium(campaign)
        if not medium or _PAID.fullmatch(medium):
            return classifier.clicked(campaign.click_id_kind, found)
    return found


def channel(origin: Referrer, campaign: Campaign, has_referrer: bool) -> Channel:
    """The channel. `origin` is what `source()` gave; `has_referrer` is true for a foreign referrer."""
    if campaign is NO_CAMPAIGN or campaign == NO_CAMPAIGN:
        return _without_tags(origin.kind, has_referrer)
    explicit = _explicit_medium(campaign)
    medium = explicit or origin.medium
    name = campaign.utm_campaign.lower()
    if "cross-network" in name:
        return Channel.CROSS_NETWORK
    own = _of_medium(medium)
    paid = own is None and _PAID.fullmatch(explicit if _PAID.fullmatch(explicit) else origin.medium) is not None
    shopping = origin.kind == "shopping" or (bool(name) and _SHOPPING_CAMPAIGN.search(name) is not None)
    return _paid(origin, medium, paid=paid, shopping=shopping) or own or _unpaid(origin, medium, shopping, has_referrer)


def _explicit_medium(campaign: Campaign) -> str:
    medium = campaign.utm_medium.lower()
    return "" if medium in _NO_MEDIUM else medium


def _without_tags(source_kind: str, has_referrer: bool) -> Channel:
    found = _BY_KIND_ALONE.get(source_kind, Channel.REFERRAL)
    return Channel.REFERRAL if found is Channel.DIRECT and has_referrer else found


def _of_medium(medium: str) -> Channel | None:
    """The channel of a medium that says it whatever the source is."""
    if medium in _EMAIL:
        return Channel.EMAIL
    if medium in _AFFILIATES:
        return Channel.AFFILIATES
    if medium == "audio":
        return Channel.AUDIO
    if medium == "sms":
        return Channel.SMS
    return Channel.MOBILE_PUSH if medium.endswith("push") or "notification" in medium else None


def _paid(origin: Referrer, medium: str, *, paid: bool, shopping: bool) -> Channel | None:
    if paid and shopping:
        return Channel.PAID_SHOPPING
    if paid and origin.kind in _PAID_KINDS:
        return _PAID_KINDS[origin.kind]
    if medium in _DISPLAY:
        return Channel.DISPLAY
    return Channel.PAID_OTHER if paid else None


def _unpaid(origin: Referrer, medium: str, shopping: bool, has_referrer: bool) -> Channel:
    source, kind = origin.name.lower(), origin.kind
    rules = (
        (shopping, Channel.ORGANIC_SHOPPING),
        (kind == "social" or medium in _SOCIAL, Channel.ORGANIC_SOCIAL),
        (kind == "video" or "video" in medium, Channel.ORGANIC_VIDEO),
        (kind == "ai" or medium in _AI, Channel.AI_ASSISTANTS),
        (kind == "search" or medium == "organic", Channel.ORGANIC_SEARCH),
        (kind == "email", Channel.EMAIL),
        (kind == "affiliate", Channel.AFFILIATES),
        (source == "sms", Channel.SMS),
        ("mobile" in medium or source == "firebase", Channel.MOBILE_PUSH),
        (medium in _REFERRAL or has_referrer or origin.kind != DIRECT.kind, Channel.REFERRAL),
    )
    return next((found for holds, found in rules if holds), Channel.DIRECT)
