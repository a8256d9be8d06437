"""A real OpenID Connect provider (the Node package oidc-provider) in a process of its own, and a browser's part."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
import pytest
from joserfc.jwk import RSAKey
from yarl import URL

from tests.server import own_port

PACKAGE = Path(__file__).parent / "node"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "alice": {"email": "Alice@Example.com", "email_verified": True, "name": "Alice", "groups": ["staff", "analytics"]},
    "mallory": {"email": "alice@example.com", "email_verified": False, "name": "Mallory", "groups": []},
}
MOST_STEPS = 12


def new_key(name: str) -> dict[str, Any]:
    """A private RSA key as a JWK."""
    return {**RSAKey.generate_key(2048).as_dict(private=True), "kid": name, "use": "sig", "alg": "RS256"}


def is_installed() -> bool:
    """Is the Node package there?"""
    return (PACKAGE / "node_modules" / "oidc-provider").is_dir()


@contextmanager
def running_provider(*, port: int | None = None, **settings: Any) -> Iterator[str]:
    """Runs one; gives its issuer."""
    if not is_installed():
        pytest.skip("the Node package oidc-provider is not installed: `make test` does it where npm is there")
    process = subprocess.Popen(
        [
            "node",
            str(PACKAGE / "provider.mjs"),
            str(port or own_port()),
            json.dumps({"accounts": ACCOUNTS, **settings}),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        if not issuer:
            process.kill()
            raise AssertionError(process.communicate()[1])
        yield issuer
    finally:
        process.kill()
        process.communicate()


async def signed_in_at(address: str, login: str, redirect_url: str) -> dict[str, str]:
    """What the browser brings back to `redirect_url` after it went to `address`, signed in and consented."""
    jar = aiohttp.CookieJar(unsafe=True)  # for an address, too
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        form: dict[str, str] | None = None
        for _ in range(MOST_STEPS):
            method = "GET" if form is None else "POST"
            async with browser.request(method, URL(address, encoded=True), data=form, allow_redirects=False) as answer:
                text = await answer.text()
                location = answer.headers.get("Location", "")
            form = None
            if location:
                address = urljoin(address, location)
                if address.startswith(redirect_url):
                    return dict(parse_qsl(urlsplit(address).query))
                continue
            target = re.search(r'<form[^>]*action="([^"]+)"', text)
            assert target, text
            address = urljoin(address, html.unescape(target[1]))
            fields = re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', text)
            form = {name: html.unescape(value) for name, value in fields}
            if 'name="login"' in text:
                form |= {"login": login, "password": "any"}
        raise AssertionError(f"no end of redirects at {address}")
