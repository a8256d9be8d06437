"""Rejection codes: why an event is refused. Each with the sentence and the remedy that a client is told.

A code that is not here still works: it is told without a sentence. A test holds the list against the code.
"""

from __future__ import annotations

from enum import StrEnum

from analytics_server.access.principals import spellings_of
from analytics_server.collect.formats.beacon import Beacon, MisreadEvent, Rejection
from analytics_server.model import stored_site_id

_SEE_FIELDS = "docs/beacons.md lists the fields of an event."


class RejectionCode(StrEnum):
    """A code; `about` says what it means, `remedy` what one can do to have the event counted."""

    about: str
    remedy: str

    def __new__(cls, value: str, about: str = "", remedy: str = "") -> RejectionCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        member.remedy = remedy
        return member

    UNKNOWN_SITE = (
        "unknown_site",
        "No site has the name that the events were sent to.",
        "Create the site (analytics-server site create), or set [sites] create_unknown = true. "
        "Is its name spelled right in data-site?",
    )
    FORBIDDEN_SITE = (
        "forbidden_site",
        "The events came with a token that does not cover their site.",
        "Send them with a token of this site, or add the site to the token's sites.",
    )
    FORBIDDEN_BY_PROFILE = (
        "forbidden_by_profile",
        "The site's profile takes no events of a script.",
        "Send them from a server with a token, or by the pixel, or give the site another profile.",
    )
    TOO_MANY_REQUESTS = (
        "too_many_requests",
        "A site, an address or a network sent more than it may.",
        "Raise the site's events_per_s, [limits] site_events_per_s, address_events_per_s or address_new_sites_per_h.",
    )
    MISSING_SITE = "missing_site", "The event names no site.", "Send site, the name of the site."
    MISSING_NAME = "missing_name", "The event has no name.", 'Send name, such as "pageview".'
    MISSING_URL = "missing_url", "A pageview came without the page's address.", "Send the page's address as url."
    MISSING_EXPERIMENT = (
        "missing_experiment",
        "An exposure came without its experiment.",
        "Send experiment.id and experiment.variant with an exposure.",
    )
    MISSING_APP_NAME = "missing_app_name", "The client library's event names no site.", "Send appName, the site's name."
    MISSING_PAGE_URL = "missing_page_url", "The client library's event names no page.", "Send pageUrl."
    MISSING_TYPE = "missing_type", "The client library's interaction has no type.", "Send type, the event's name."
    MISSING_KIND = "missing_kind", "An event of a batch has no kind.", 'Send kind: "view" or "interaction".'
    BAD_SITE = (
        "bad_site",
        "What the event names as its site can be no site's name.",
        "Use a name such as example.com in data-site: no scheme, no path, no white space.",
    )
    BAD_NAME = (
        "bad_name",
        "The event's name is no text, empty, too long, or has control characters.",
        "Use a short name; [limits] name_chars says how long it may be.",
    )
    BAD_URL = (
        "bad_url",
        "The page's address is not an absolute http or https address, or is too long.",
        "Send an http or https address. Those of apps, extensions and files count where the site has allow_apps.",
    )
    BAD_TIMESTAMP = (
        "bad_timestamp",
        "The event's time can't be read, or lies before the year 2000.",
        "Send timestamp as ISO 8601 or as an epoch number, or leave it out.",
    )
    BAD_EXPERIMENT = (
        "bad_experiment",
        "The experiment of an exposure has no id or no variant.",
        "Neither experiment.id nor experiment.variant may be empty.",
    )
    BAD_KIND = "bad_kind", "The kind of an event of a batch is unknown.", 'Send kind: "view" or "interaction".'
    BAD_TYPE = "bad_type", "The type of the client library's interaction is no name.", "Send a short text as type."
    BAD_APP_NAME = (
        "bad_app_name",
        "What the client library names as the site can be no site's name.",
        "Send a name such as example.com as appName: no scheme, no path, no white space.",
    )
    BAD_PAGE_URL = (
        "bad_page_url",
        "The page's address from the client library is not an absolute http or https address, or is too long.",
        "Send pageUrl as an http or https address. "
        "Those of apps, extensions and files count where the site has allow_apps.",
    )
    BAD_EVENT = "bad_event", "The event is no object, or can't be read.", _SEE_FIELDS
    BAD_JSON = "bad_json", "The body of a request is not JSON in UTF-8.", "Send JSON.stringify's text, in UTF-8."
    BAD_BODY = "bad_body", "The body of a request is neither an event nor events.", _SEE_FIELDS
    BAD_ENCODING = "bad_encoding", "The compressed body of a request is broken.", "Compress it whole, or not at all."
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        "The body of a request is compressed in an unknown way.",
        "Compress with gzip or deflate, or not at all.",
    )
    TOO_LARGE = (
        "too_large",
        "A request has too many bytes or events.",
        "Send less at a time, or raise the limits of a batch in [limits].",
    )


OF_REQUESTS = frozenset({"bad_json", "bad_body", "bad_encoding", "missing_site", "unsupported_media_type", "too_large"})
"""Codes of requests of which nothing was read: whose they are is not known, and each counts as one event."""


FOREIGN = "This token does not cover the event's site."


def covered(
    beacons: list[tuple[int, Beacon]], sites: tuple[str, ...]
) -> tuple[list[tuple[int, Beacon]], list[Rejection]]:
    """Events of the token's own sites, and rejections for the others."""
    own = spellings_of(sites)
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    for index, beacon in beacons:
        if stored_site_id(beacon.site) in own:
            good.append((index, beacon))
        else:
            bad.append(MisreadEvent(index, "forbidden_site", FOREIGN, beacon.site))
    return good, bad
