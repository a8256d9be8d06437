"""Data of the synthetic traffic: pages, places, and where sessions come from.

Data only; who does what with it is `sessions.py`. The site is the demo's coffee roastery
(Larkspur) as a larger shop with a magazine would look. Nothing here was measured on a
real site, but for the browsers (`profiles.py`); docs/demo.md says so to users.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, product
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

HOSTNAME = "www.larkspur.example"
BRAND = "Larkspur Coffee"


class WeightedChoice(Generic[T]):
    """Values drawn by weight."""

    __slots__ = ("_sums", "_total", "values")

    def __init__(self, weighted: Sequence[tuple[float, T]]) -> None:
        self.values = [value for _, value in weighted]
        self._sums = list(accumulate(weight for weight, _ in weighted))
        self._total = self._sums[-1]

    def draw(self, rng: random.Random) -> T:
        """One value."""
        return self.values[bisect_left(self._sums, rng.random() * self._total)]


class ShopPage(NamedTuple):
    """A page; `kind` decides what is done there and where one goes next."""

    path: str
    title: str
    kind: str
    price: float = 0.0


def _page(path: str, title: str, kind: str, price: float = 0.0) -> ShopPage:
    return ShopPage(path, f"{title} · {BRAND}", kind, price)


HOME = _page("/", "Coffee worth getting up for", "home")
PRODUCTS = _page("/products", "Coffees", "products")
PRICING = _page("/pricing", "Subscriptions", "pricing")
SIGNUP = _page("/signup", "Sign up", "signup")
WELCOME = _page("/welcome", "Welcome", "welcome")
ABOUT = _page("/about", "About us", "about")
MAGAZINE = _page("/blog", "The magazine", "magazine")
APP = _page("/app", "Your subscription", "app")
ORDERS = _page("/app/orders", "Your orders", "app")
BREWS = _page("/app/brews", "Your brews", "app")

_COFFEES = (
    ("yirgacheffe", "Yirgacheffe", 14.5),
    ("sidecar", "Sidecar espresso", 12.5),
    ("nyeri", "Nyeri Hill", 16.0),
    ("huehuetenango", "Huehuetenango", 13.0),
    ("night-shift", "Night shift decaf", 14.0),
    ("mandheling", "Mandheling", 13.5),
    ("finca-la-palma", "Finca La Palma", 15.0),
    ("kayon-mountain", "Kayon Mountain", 17.5),
    ("lake-kivu", "Lake Kivu", 14.0),
    ("santa-ines", "Santa Inês", 12.0),
    ("gesha-village", "Gesha Village", 29.0),
    ("cold-brew-blend", "Cold brew blend", 11.5),
)
COFFEES = [_page(f"/products/{slug}", name, "product", price) for slug, name, price in _COFFEES]

_SUBJECTS = (
    "espresso",
    "pour-over",
    "cold-brew",
    "french-press",
    "moka-pot",
    "aeropress",
    "grinder",
    "water",
    "milk",
    "roasting",
    "decaf",
    "storage",
)
_ANGLES = (
    "how-to-{}",
    "{}-for-beginners",
    "the-best-{}-ratio",
    "{}-mistakes",
    "why-{}-tastes-sour",
    "{}-at-the-office",
    "what-baristas-know-about-{}",
    "a-short-history-of-{}",
    "{}-on-a-budget",
    "{}-compared",
    "our-{}-test",
    "{}-step-by-step",
    "questions-about-{}",
    "the-science-of-{}",
)


def _articles() -> list[ShopPage]:
    slugs = [angle.format(subject) for angle, subject in product(_ANGLES, _SUBJECTS)]
    random.Random(7).shuffle(slugs)
    return [_page(f"/blog/{slug}", slug.replace("-", " ").capitalize(), "article") for slug in slugs]


ARTICLES = _articles()
"""168 articles, the most read first."""


def _zipf(pages: Sequence[ShopPage], exponent: float) -> WeightedChoice[ShopPage]:
    """The n-th page is read n^-exponent times as often as the first."""
    return WeightedChoice([((rank + 1) ** -exponent, page) for rank, page in enumerate(pages)])


ANY_COFFEE = _zipf(COFFEES, 0.8)
ANY_ARTICLE = _zipf(ARTICLES, 1.05)
PLANS: WeightedChoice[str] = WeightedChoice([(5, "household"), (3, "taster"), (1, "office")])
PLAN_PRICES = {"taster": 9.0, "household": 24.0, "office": 79.0}
LINKS: WeightedChoice[str] = WeightedChoice(
    [
        (5, "https://www.instagram.com/larkspur.example"),
        (3, "https://www.youtube.com/@larkspur"),
        (2, "https://sca.coffee/"),
        (1, "https://en.wikipedia.org/wiki/Coffee_roasting"),
    ]
)
DOWNLOADS: WeightedChoice[str] = WeightedChoice([(4, "/downloads/brew-guide.pdf"), (1, "/downloads/grind-chart.pdf")])
MISSING: WeightedChoice[str] = WeightedChoice(
    [(4, "/shop"), (3, "/blog/latte-art"), (1, "/wp-login.php"), (1, "/products/old-crop")]
)
SEARCHES = ("decaf", "espresso", "grinder", "gift", "ethiopia", "filter", "subscription", "cold brew")


class VisitorPlace(NamedTuple):
    """Where people are. `network` is the start of addresses registered there, for sending by HTTP."""

    country: str
    region: str
    city: str
    language: str
    network: str


def _places() -> WeightedChoice[VisitorPlace]:
    rows: list[tuple[float, VisitorPlace]] = []
    for weight, country, network, languages, cities in _COUNTRIES:
        for share, (region, city) in zip((0.55, 0.3, 0.15), cities, strict=False):
            for part, language in zip((0.85, 0.15), languages, strict=False):
                rows.append((weight * share * part, VisitorPlace(country, region, city, language, network)))
    return WeightedChoice(rows)


_Country = tuple[float, str, str, tuple[str, ...], tuple[tuple[str, str], ...]]
_COUNTRIES: tuple[_Country, ...] = (
    (
        26,
        "US",
        "12.16",
        ("en-US", "es-US"),
        (("California", "Los Angeles"), ("New York", "New York"), ("Texas", "Austin")),
    ),
    (14, "DE", "84.128", ("de-DE", "en-GB"), (("Berlin", "Berlin"), ("Bavaria", "Munich"), ("Hamburg", "Hamburg"))),
    (12, "GB", "81.128", ("en-GB",), (("England", "London"), ("England", "Manchester"), ("Scotland", "Edinburgh"))),
    (7, "FR", "90.0", ("fr-FR", "en-GB"), (("Île-de-France", "Paris"), ("Auvergne-Rhône-Alpes", "Lyon"))),
    (6, "SE", "90.224", ("sv-SE", "en-GB"), (("Stockholm", "Stockholm"), ("Västra Götaland", "Gothenburg"))),
    (5, "NL", "84.24", ("nl-NL", "en-GB"), (("North Holland", "Amsterdam"), ("South Holland", "Rotterdam"))),
    (4, "ES", "80.24", ("es-ES",), (("Madrid", "Madrid"), ("Catalonia", "Barcelona"))),
    (4, "IT", "79.0", ("it-IT",), (("Lombardy", "Milan"), ("Lazio", "Rome"))),
    (4, "CA", "24.48", ("en-CA", "fr-CA"), (("Ontario", "Toronto"), ("Quebec", "Montreal"))),
    (3, "AU", "1.128", ("en-AU",), (("New South Wales", "Sydney"), ("Victoria", "Melbourne"))),
    (3, "PL", "83.0", ("pl-PL",), (("Mazovia", "Warsaw"), ("Lesser Poland", "Kraków"))),
    (2, "AT", "62.46", ("de-AT",), (("Vienna", "Vienna"),)),
    (2, "CH", "85.0", ("de-CH", "fr-CH"), (("Zurich", "Zürich"), ("Geneva", "Geneva"))),
    (2, "DK", "80.160", ("da-DK",), (("Capital Region", "Copenhagen"),)),
    (2, "NO", "84.208", ("nb-NO",), (("Oslo", "Oslo"),)),
    (2, "BR", "177.32", ("pt-BR",), (("São Paulo", "São Paulo"),)),
    (2, "IN", "117.192", ("en-IN",), (("Karnataka", "Bengaluru"),)),
    (1, "JP", "126.0", ("ja-JP",), (("Tokyo", "Tokyo"),)),
    (1, "FI", "88.192", ("fi-FI",), (("Uusimaa", "Helsinki"),)),
    (1, "BE", "81.240", ("nl-BE", "fr-BE"), (("Brussels", "Brussels"),)),
    (1, "IE", "86.40", ("en-IE",), (("Leinster", "Dublin"),)),
    (1, "PT", "85.240", ("pt-PT",), (("Lisbon", "Lisbon"),)),
    (1, "MX", "189.128", ("es-MX",), (("Mexico City", "Mexico City"),)),
)
ANY_PLACE = _places()


class Arrival(NamedTuple):
    """How a session begins: referrer, query of the first page, where it lands, how keen its people are.

    `landing`: "home", "article", "product", "pricing" or "missing". `keen` multiplies the
    chance to go on. `days`: share of the range in which it runs (campaigns begin and end).
    """

    referrer: str
    query: str
    landing: str
    keen: float
    days: tuple[float, float] = (0.0, 1.0)


NEW_ARRIVALS: Sequence[tuple[float, Arrival]] = (
    (18, Arrival("", "", "home", 1.1)),
    (3, Arrival("", "", "article", 0.8)),
    (20, Arrival("https://www.google.com/", "", "article", 0.75)),
    (9, Arrival("https://www.google.com/", "", "home", 1.2)),
    (4, Arrival("https://www.google.de/", "", "product", 1.1)),
    (3, Arrival("https://www.bing.com/", "", "article", 0.8)),
    (2.5, Arrival("https://duckduckgo.com/", "", "article", 0.85)),
    (1, Arrival("https://www.ecosia.org/", "", "home", 1.0)),
    (3, Arrival("https://chatgpt.com/", "", "article", 1.15)),
    (1, Arrival("https://www.perplexity.ai/", "", "product", 1.2)),
    (4, Arrival("https://l.instagram.com/", "", "product", 0.8)),
    (3, Arrival("https://www.facebook.com/", "", "home", 0.6)),
    (3, Arrival("https://www.reddit.com/r/Coffee/", "", "article", 0.7)),
    (1.5, Arrival("https://www.youtube.com/", "", "product", 0.9)),
    (1, Arrival("https://www.linkedin.com/", "", "about", 0.7)),
    (0.8, Arrival("https://www.pinterest.com/", "", "article", 0.6)),
    (45, Arrival("https://news.ycombinator.com/item?id=41999999", "", "article", 0.45, (0.62, 0.68))),
    (1.5, Arrival("https://sprudge.com/", "", "home", 1.1)),
    (1, Arrival("https://www.homegrounds.co/", "", "product", 1.0)),
    (0.7, Arrival("https://coffeeblog.example.net/reviews/larkspur", "", "product", 1.3)),
    (0.5, Arrival("https://forum.example.org/t/1234", "", "missing", 0.5)),
    (
        5,
        Arrival(
            "https://www.google.com/",
            "utm_source=google&utm_medium=cpc&utm_campaign=brand&utm_term=larkspur&gclid=1",
            "home",
            1.5,
        ),
    ),
    (
        4,
        Arrival(
            "https://www.google.com/",
            "utm_source=google&utm_medium=cpc&utm_campaign=subscriptions&utm_content=a&gclid=1",
            "pricing",
            1.2,
            (0.3, 0.9),
        ),
    ),
    (
        3,
        Arrival(
            "https://www.facebook.com/",
            "utm_source=facebook&utm_medium=paid_social&utm_campaign=autumn_box&utm_content=video&fbclid=1",
            "product",
            0.7,
            (0.4, 0.75),
        ),
    ),
    (2, Arrival("", "utm_source=newsletter&utm_medium=email&utm_campaign=weekly", "article", 1.3)),
    (
        14,
        Arrival("", "utm_source=newsletter&utm_medium=email&utm_campaign=harvest_launch", "product", 1.8, (0.5, 0.56)),
    ),
    (0.8, Arrival("", "utm_source=beanbox&utm_medium=affiliate&utm_campaign=partners", "product", 1.4)),
)
"""How people come who have not been here before."""

RETURN_ARRIVALS: WeightedChoice[Arrival] = WeightedChoice(
    [
        (60, Arrival("", "", "app", 1.4)),
        (15, Arrival("", "", "home", 1.4)),
        (10, Arrival("https://www.google.com/", "", "home", 1.4)),
        (15, Arrival("", "utm_source=newsletter&utm_medium=email&utm_campaign=weekly", "article", 1.5)),
    ]
)
"""How people with an account come back."""
