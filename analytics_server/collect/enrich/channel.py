"""Groups a session's origin into channels as Google Analytics 4 does, first match wins.

The rules and their order follow GA4's default channel group
(https://support.google.com/analytics/answer/9756891); AI assistants stand before
organic search. Two things differ on purpose: click ids of Google and Microsoft ads make
their own search engines' traffic paid, since no ads account is linked here;
and there is no "Unassigned": a visit with a named source that matches no rule is a
Referral, one without any is Direct.
"""

from __future__ import annotations

import re
from enum import StrEnum

from analytics_server.collect.enrich.campaign import NO_CAMPAIGN, Campaign
from analytics_server.collect.enrich.referrer import DIRECT, Referrer, ReferrerClassifier


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


_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*")
_SHOPPING_CAMPAIGN = re.compile(r"(?:^|[^a-df-z])shop|shopping")
_DISPLAY = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_SOCIAL = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_EMAIL = frozenset({"email", "e-mail", "e_mail", "e mail"})
_AFFILIATES = frozenset({"affiliate", "affiliates"})
_REFERRAL = frozenset({"referral", "app", "link"})
_AI = frozenset({"ai-assistant"})

_ADS_OF = {"gclid": "Google", "gbraid": "Google", "wbraid": "Google", "msclkid": "Bing"}
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
    "referral": Channel.REFERRAL,
    "spam": Channel.REFERRAL,
}


def source(campaign: Campaign, referrer: Referrer, classifier: ReferrerClassifier) -> Referrer:
    """The session's source: `utm_source`, else `ref` or `source`, else the referrer.

    Without any it is `DIRECT`, stored as "Direct" and not as "", so that reports read well.
    """
    tag = campaign.utm_source or campaign.ref
    return classifier.named(tag) if tag else referrer


def channel(source_name: str, source_kind: str, campaign: Campaign, has_referrer: bool) -> Channel:
    """The channel. `source_*` is what `source()` gave; `has_referrer` is true for a foreign referrer."""
    if campaign is NO_CAMPAIGN or campaign == NO_CAMPAIGN:
        return _without_tags(source_kind, has_referrer)
    origin = Referrer(source_name, source_kind)
    medium = campaign.utm_medium.lower()
    name = campaign.utm_campaign.lower()
    shopping = source_kind == "shopping" or (bool(name) and _SHOPPING_CAMPAIGN.search(name) is not None)
    paid = bool(medium) and _PAID.fullmatch(medium) is not None
    if "cross-network" in name:
        return Channel.CROSS_NETWORK
    if found := _paid(origin, campaign.click_id_kind, medium, paid=paid, shopping=shopping):
        return found
    return _unpaid(origin, medium, shopping=shopping, has_referrer=has_referrer)


def _without_tags(source_kind: str, has_referrer: bool) -> Channel:
    found = _BY_KIND_ALONE.get(source_kind, Channel.REFERRAL)
    return Channel.REFERRAL if found is Channel.DIRECT and has_referrer else found


def _paid(origin: Referrer, click_id_kind: str, medium: str, *, paid: bool, shopping: bool) -> Channel | None:
    if paid and shopping:
        return Channel.PAID_SHOPPING
    if click_id_kind and _ADS_OF.get(click_id_kind) == origin.name:
        return Channel.PAID_SEARCH
    if paid and origin.kind in _PAID_KINDS:
        return _PAID_KINDS[origin.kind]
    if medium in _DISPLAY:
        return Channel.DISPLAY
    return Channel.PAID_OTHER if paid else None


def _unpaid(origin: Referrer, medium: str, *, shopping: bool, has_referrer: bool) -> Channel:
    source, kind = origin.name.lower(), origin.kind
    rules = (
        (shopping, Channel.ORGANIC_SHOPPING),
        (kind == "social" or medium in _SOCIAL, Channel.ORGANIC_SOCIAL),
        (kind == "video" or "video" in medium, Channel.ORGANIC_VIDEO),
        (kind == "ai" or medium in _AI, Channel.AI_ASSISTANTS),
        (kind == "search" or medium == "organic", Channel.ORGANIC_SEARCH),
        (kind == "email" or source in _EMAIL or medium in _EMAIL, Channel.EMAIL),
        (medium in _AFFILIATES, Channel.AFFILIATES),
        (medium == "audio", Channel.AUDIO),
        (source == "sms" or medium == "sms", Channel.SMS),
        (_is_push(source, medium), Channel.MOBILE_PUSH),
        (medium in _REFERRAL or has_referrer or source != DIRECT.name.lower(), Channel.REFERRAL),
    )
    return next((found for holds, found in rules if holds), Channel.DIRECT)


def _is_push(source: str, medium: str) -> bool:
    return medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase"
