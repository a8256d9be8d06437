"""Synthetic sessions: what people do on the site, from how they came to a list of events.

A session is a walk from page to page; the kind of page decides how long one stays, what
one does there, and where one goes next. The funnel is home or product → pricing →
signup → welcome → purchase, and loses people at every step. The experiment on the home
page works: who sees `taste` goes on to a coffee, and finishes signing up, more often.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from analytics_server.demo.visitors import SyntheticVisitor, SyntheticVisitors
from analytics_server.demo.world import (
    ABOUT,
    ANY_ARTICLE,
    ANY_COFFEE,
    APP,
    BREWS,
    DOWNLOADS,
    HOME,
    HOSTNAME,
    LINKS,
    MAGAZINE,
    MISSING,
    ORDERS,
    PLAN_PRICES,
    PLANS,
    PRICING,
    PRODUCTS,
    SEARCHES,
    SIGNUP,
    WELCOME,
    Arrival,
    ShopPage,
    WeightedChoice,
)

EXPERIMENT = "hero_cta"
CURRENCY = "EUR"
MAX_PAGES = 25

Details = tuple[int, int, str, str, str, str, str | int, str, str, str]
"""The columns scroll_depth … variant, as `model.COLUMNS` orders them."""
NOTHING: Details = (0, 0, "", "", "", "", 0, "", "", "")


class PlannedEvent(NamedTuple):
    """`at_ms` counts from the beginning of the session; `user_id` is "" while the user is not known."""

    at_ms: int
    name: str
    page: ShopPage
    user_id: str
    details: Details = NOTHING
    props: dict[str, str] | None = None


class PlannedSession(NamedTuple):
    """One session: who, when (epoch milliseconds), how, and what they did, in order of time."""

    visitor: SyntheticVisitor
    start_ms: int
    url: str
    referrer: str
    session_id: str
    events: list[PlannedEvent]


class _Kind(NamedTuple):
    """How people behave on a kind of page: seconds (median), scroll depth, chance to leave, where next."""

    stay_s: float
    scroll: int
    bounce: float
    leave: float
    next: WeightedChoice[str]


_KINDS = {
    "home": _Kind(
        14,
        55,
        0.36,
        0.22,
        WeightedChoice([(24, "products"), (26, "product"), (14, "pricing"), (14, "article"), (8, "about")]),
    ),
    "products": _Kind(16, 70, 0.4, 0.2, WeightedChoice([(75, "product"), (10, "pricing"), (10, "home")])),
    "product": _Kind(
        30,
        65,
        0.46,
        0.25,
        WeightedChoice([(34, "product"), (26, "pricing"), (14, "products"), (12, "home"), (10, "article")]),
    ),
    "pricing": _Kind(32, 80, 0.38, 0.26, WeightedChoice([(36, "signup"), (18, "product"), (16, "home"), (8, "about")])),
    "signup": _Kind(38, 60, 0.4, 0.3, WeightedChoice([(50, "pricing"), (30, "home"), (20, "product")])),
    "welcome": _Kind(20, 50, 0.3, 0.35, WeightedChoice([(70, "app"), (20, "product"), (10, "article")])),
    "article": _Kind(
        62,
        72,
        0.62,
        0.34,
        WeightedChoice(
            [(46, "article"), (10, "magazine"), (18, "product"), (16, "home"), (6, "products"), (4, "pricing")]
        ),
    ),
    "magazine": _Kind(14, 75, 0.45, 0.22, WeightedChoice([(90, "article"), (10, "home")])),
    "about": _Kind(26, 75, 0.55, 0.4, WeightedChoice([(40, "products"), (30, "home"), (20, "pricing")])),
    "app": _Kind(35, 45, 0.22, 0.3, WeightedChoice([(60, "app"), (22, "product"), (8, "article"), (5, "home")])),
    "missing": _Kind(6, 20, 0.68, 0.45, WeightedChoice([(70, "home"), (20, "products"), (10, "magazine")])),
}
_FIXED = {
    "home": HOME,
    "products": PRODUCTS,
    "pricing": PRICING,
    "signup": SIGNUP,
    "about": ABOUT,
    "magazine": MAGAZINE,
}
_APP_PAGES: WeightedChoice[ShopPage] = WeightedChoice([(5, APP), (4, ORDERS), (3, BREWS)])


class SessionPlanner:
    """Makes sessions; keeps nothing of one once it is made, but for the people's accounts."""

    def __init__(self, visitors: SyntheticVisitors, rng: random.Random) -> None:
        self._visitors = visitors
        self._rng = rng

    def session(self, moment: float) -> PlannedSession:
        """The session that begins at `moment` (epoch seconds)."""
        visitor, arrival = self._visitors.visitor(moment)
        walk = _Walk(self._rng, visitor, arrival, self._visitors, moment)
        walk.run()
        first = walk.events[0].page.path
        url = f"https://{HOSTNAME}{first}{'?' + arrival.query if arrival.query else ''}"
        session_id = f"d{self._rng.getrandbits(64):016x}"
        return PlannedSession(visitor, int(moment * 1000), url, arrival.referrer, session_id, walk.events)


class _Walk:
    """One session while it is being made."""

    __slots__ = ("_arrival", "_keen", "_moment", "_now_ms", "_rng", "_visitor", "_visitors", "events")

    def __init__(
        self,
        rng: random.Random,
        visitor: SyntheticVisitor,
        arrival: Arrival,
        visitors: SyntheticVisitors,
        moment: float,
    ) -> None:
        self._rng = rng
        self._visitor = visitor
        self._arrival = arrival
        self._visitors = visitors
        self._moment = moment
        self._keen = arrival.keen * (0.85 if len(visitor.profile.screen) < 8 else 1.1)
        self._now_ms = 0
        self.events: list[PlannedEvent] = []

    def run(self) -> None:
        """From the landing page until they leave."""
        rng, keen = self._rng, self._keen
        page = self._page(self._arrival.landing)
        for number in range(MAX_PAGES):
            kind = _KINDS[page.kind]
            self._add("pageview", page)
            self._on_arrival(page, number)
            stay_ms = int(kind.stay_s * 1000 * rng.lognormvariate(0, 0.75)) + 800
            following = self._act(page, stay_ms)
            self._now_ms += stay_ms
            if rng.random() < 0.9:
                depth = min(100, int(kind.scroll * (0.4 + rng.random())))
                engaged = int(stay_ms * (0.5 + rng.random() / 2))
                self._add("engagement", page, (depth, engaged, *NOTHING[2:]))
            if following is None:
                leave = kind.leave if number else kind.bounce
                if rng.random() < leave / keen:
                    return
                following = self._page(self._choose_next(page, kind))
            page = following
            self._now_ms += 150 + int(rng.random() * 700)

    def _add(self, name: str, page: ShopPage, details: Details = NOTHING, props: dict[str, str] | None = None) -> None:
        self._now_ms += 1
        self.events.append(PlannedEvent(self._now_ms, name, page, self._visitor.user_id, details, props))

    def _page(self, kind: str) -> ShopPage:
        fixed = _FIXED.get(kind)
        if fixed is not None:
            return fixed
        if kind == "article":
            return ANY_ARTICLE.draw(self._rng)
        if kind == "product":
            return ANY_COFFEE.draw(self._rng)
        if kind == "app":
            return _APP_PAGES.draw(self._rng)
        return ShopPage(MISSING.draw(self._rng), "There is nothing here · Larkspur Coffee", "missing")

    def _choose_next(self, page: ShopPage, kind: _Kind) -> str:
        following = kind.next.draw(self._rng)
        if page.kind == "home" and self._visitor.variant == "taste" and self._rng.random() < 0.12:
            return "product"
        if following == "app" and not self._visitor.user_id:
            return "home"
        return "app" if following == "signup" and self._visitor.user_id else following

    def _on_arrival(self, page: ShopPage, number: int) -> None:
        """What happens by itself when a page opens."""
        rng = self._rng
        if page.kind == "missing":
            self._add("not_found", page)
        elif page is HOME and number == 0 and not self._visitor.user_id:
            self._add("exposure", page, (*NOTHING[:8], EXPERIMENT, self._visitor.variant))
        if number == 0 and rng.random() < 0.2:
            value = f"{rng.lognormvariate(7.3, 0.4):.0f}"
            self._add("web_vital", page, props={"name": "LCP", "value": value})

    def _act(self, page: ShopPage, stay_ms: int) -> ShopPage | None:
        """What is done on a page; the page that it leads to, if it does."""
        rng = self._rng
        luck = rng.random() / self._keen
        if page.kind == "article":
            if luck < 0.12:
                self._pause(stay_ms, 0.6)
                self._add("scroll", page, (90, *NOTHING[1:]))
            elif luck < 0.155:
                href = LINKS.draw(rng)
                self._pause(stay_ms, 0.7)
                self._add("outbound", page, (0, 0, "", "a", "", href, *NOTHING[6:]))
            elif luck < 0.18:
                href = DOWNLOADS.draw(rng)
                self._pause(stay_ms, 0.5)
                self._add("download", page, (0, 0, "", "a", "Download", href, *NOTHING[6:]))
        elif page.kind == "product":
            if luck < 0.09:
                self._buy(page, stay_ms, luck < 0.035 * (2 if self._visitor.user_id else 1))
        elif page.kind == "home":
            if luck < 0.16:
                self._pause(stay_ms, 0.5)
                text = "Taste your first bag" if self._visitor.variant == "taste" else "Choose your coffee"
                self._add("click", page, (0, 0, "hero-cta", "a", text, "/products", *NOTHING[6:]))
                return PRODUCTS
        elif page.kind == "signup":
            return self._sign_up(page, stay_ms, luck)
        elif page.kind == "products" and luck < 0.1:
            self._pause(stay_ms, 0.3)
            self._add("search", page, props={"term": SEARCHES[int(rng.random() * len(SEARCHES))]})
        return None

    def _buy(self, page: ShopPage, stay_ms: int, buys: bool) -> None:
        slug = page.path.rpartition("/")[2]
        self._pause(stay_ms, 0.5)
        self._add("add_to_basket", page, props={"product": slug})
        if buys:
            bags = 1 + int(self._rng.random() * 2.6)
            self._pause(stay_ms, 1.5)
            self._sell(page, page.price * bags, {"product": slug, "bags": str(bags)})

    def _sign_up(self, page: ShopPage, stay_ms: int, luck: float) -> ShopPage | None:
        if self._visitor.user_id or luck > (0.48 if self._visitor.variant == "taste" else 0.38):
            return None
        plan = PLANS.draw(self._rng)
        self._pause(stay_ms, 0.9)
        self._add("form", page, (0, 0, "signup", "form", "", "/signup", *NOTHING[6:]))
        self._now_ms += 400
        self._visitors.sign_up(self._visitor, self._moment)
        self._add("signup", page, props={"plan": plan})
        if self._rng.random() < 0.66:
            self._pause(20_000, 1.0)
            self._sell(page, PLAN_PRICES[plan], {"plan": plan})
        return WELCOME

    def _sell(self, page: ShopPage, amount: float, props: dict[str, str]) -> None:
        self._add("purchase", page, (*NOTHING[:6], f"{amount:.4f}", CURRENCY, "", ""), props)

    def _pause(self, stay_ms: int, share: float) -> None:
        self._now_ms += int(stay_ms * share * self._rng.random()) + 300
