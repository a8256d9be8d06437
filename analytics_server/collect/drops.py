"""Drop reasons: why an accepted event isn't kept. The one list, each with its sentence.

The values are the keys of `dropped` in the answer to a beacon and the label of the
metric that counts drops, so they are stable. A drop is a value, never an exception.
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """A reason; `about` is the sentence the documentation shows, `remedy` what one can do to have it counted.

    `example`: what the documentation shows, in Markdown.
    """

    about: str
    remedy: str
    example: str

    def __new__(cls, value: str, about: str = "", remedy: str = "", example: str = "") -> DropReason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        member.remedy = remedy
        member.example = example
        return member

    BOT = (
        "bot",
        "It looks automated: the user agent is a crawler, a headless browser, an HTTP library, or empty.",
        "Open the page in an ordinary browser window. To count automated tests, set [collect] drop_bots = false.",
        "`python-requests/2.31.0`; the kinds stand below",
    )
    PREFETCH = (
        "prefetch",
        "The browser loaded the page ahead of time and has not shown it.",
        "It counts once the page is shown.",
        "`Sec-Purpose: prefetch;prerender`",
    )
    DNT = (
        "dnt",
        "The browser asked not to be tracked (header DNT: 1).",
        "Look with another browser, or set [collect] respect_dnt = false.",
        "`DNT: 1`",
    )
    GPC = (
        "gpc",
        "The browser sent Global Privacy Control (header Sec-GPC: 1).",
        "Look with another browser, or set [collect] respect_gpc = false.",
        "`Sec-GPC: 1`",
    )
    HOSTNAME = (
        "hostname",
        "The page's hostname is not among the site's allowed hosts.",
        "Add the host to the site's allowed_hosts, or empty that list to allow any host.",
        "a copy on `staging.example.com`, where only `example.com` is allowed",
    )
    EXCLUDED = (
        "excluded",
        "A rule of the site, or an address range of the config, excludes it.",
        "Take the rule that is shown out of the site's excluded_paths, excluded_hosts, excluded_countries or "
        "excluded_props, or the range out of [collect] exclude_addresses.",
        "a page of `/admin/**`; the team's own traffic",
    )
    SPAM_REFERRER = (
        "spam_referrer",
        "The referrer is a known source of referrer spam.",
        "Open the page without following that link.",
        "`https://www.1-best-seo.com/`",
    )
    OPTED_OUT = (
        "opted_out",
        "The user that the event names by user_id is on the opt-out list.",
        "Nothing: it was asked for. DELETE /api/v1/privacy/opt-outs takes a user off the list.",
        "an event of `u-42` after `POST /api/v1/privacy/opt-outs`",
    )
    NO_SESSION = (
        "no_session",
        "It only tells more about a page view (engagement, scroll, web_vital), and there is no session that it is of.",
        "Send a pageview, or another active event, first; a session_id must be that of its events.",
        "`engagement` of a tab that was opened two days ago",
    )
    DUPLICATE = (
        "duplicate",
        "An event with the same event_id was already accepted.",
        "Nothing: the event is counted once. Give each event an event_id of its own.",
        "a beacon that is sent again because its answer was lost",
    )
