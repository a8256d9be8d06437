"""Exclusion rules of a site: which of its events are not kept; checked and normalized as they are stored.

By path, host, country and property. Own traffic by address are no setting of a site: an address range names people, so
it stands in the config only (`[collect] exclude_addresses`). The rules are matched in `collect/steps/exclusion.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.spelling.countries import CODE_CHARS, country_code
from analytics_server.spelling.host_names import allowed_host, readable_host

BAD_EXCLUSION = "bad_exclusion"
MOST_RULES = 100
"""Of each sort."""

RULE_CHARS = 512
MOST_CHARS = 4_096
"""Of all rules of a site together: what an event costs grows with them."""


def check_size(site: Site) -> None:
    """Raise `RequestError` where a site's rules are too long together."""
    rules = (*site.excluded_paths, *site.excluded_hosts, *site.excluded_countries, *site.excluded_props)
    chars = sum(map(len, rules))
    if chars > MOST_CHARS:
        raise RequestError(
            f"The site's exclusion rules have {chars:,} characters together, {MOST_CHARS:,} are allowed: let a wildcard"
            " stand for several.",
            code=BAD_EXCLUSION,
        )


def excluded_paths(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Paths with `*` and `**`, each once. Raises `RequestError`."""
    return _each("excluded_paths", rules, _path)


def excluded_hosts(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts, with `*` for any part, in their one spelling and each once. Raises `RequestError`."""
    return _each("excluded_hosts", rules, _host)


def excluded_countries(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Countries by code or name, as codes, each once. Raises `RequestError`."""
    return _each("excluded_countries", rules, _country)


def excluded_props(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Properties as `key=value`, each once. Raises `RequestError`."""
    return _each("excluded_props", rules, _prop)


def _each(field: str, rules: tuple[str, ...], read: Callable[[str], str]) -> tuple[str, ...]:
    if len(rules) > MOST_RULES:
        raise RequestError(
            f"{field} has {len(rules)} rules, {MOST_RULES} are allowed: let a wildcard stand for several.",
            code=BAD_EXCLUSION,
        )
    found: dict[str, None] = {}
    for index, rule in enumerate(rules):
        place = f"{field}[{index}]"
        try:
            if len(rule) > RULE_CHARS:
                raise ValueError(f"it has {len(rule)} characters, {RULE_CHARS} are allowed")
            if not rule.isprintable():
                raise ValueError("it has control characters in it")
            found[read(rule)] = None
        except ValueError as error:
            raise RequestError(f"{place} is {rule[:80]!r}: {error}.", code=BAD_EXCLUSION) from error
        except RequestError as error:
            raise RequestError(f"{place}: {error.message}", code=BAD_EXCLUSION) from error
    return tuple(found)


def _path(rule: str) -> str:
    path = rule.strip()
    if not path.startswith(("/", "*")):
        raise ValueError("a path begins with a slash, such as /admin/** (the host is a rule of its own)")
    if "*" in path and not path.strip("/*"):
        raise ValueError("it stands for every page, so nothing would be counted: name a part of the path")
    return path


def _host(rule: str) -> str:
    text = rule.strip()
    if "*" not in text.removeprefix("*."):
        return allowed_host(text)
    if not text.strip("*."):
        raise ValueError("it stands for every host, so nothing would be counted: name a part of the host")
    allowed_host(text.replace("*", "x"))
    if any(char in text for char in "/:?#"):
        raise ValueError("with * in it, it is a host alone, without scheme, port and path: such as *--shop.example.net")
    return readable_host(text)


def _country(rule: str) -> str:
    text = rule.strip()
    if not text:
        raise ValueError(f"it is empty: write a code of {CODE_CHARS} letters, such as DE")
    return country_code(text, "a rule")


def _prop(rule: str) -> str:
    key, is_pair, value = rule.partition("=")
    if not (is_pair and key.strip() and value.strip()):
        raise ValueError("write the property's key and its value, such as plan=internal")
    return f"{key.strip()}={value.strip()}"
