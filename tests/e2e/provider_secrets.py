"""A sign-in through a provider whose secrets are marked or learnt: code, state, nonce, verifier, tokens, session."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from tests.access.oidc.provider import is_installed, new_key, running_provider, signed_in_at
from tests.e2e.heard import Heard
from tests.server import Client, Reply

CLIENT_ID = "analytics"
CLIENT_SECRET = "marked-client-secret"
SUBJECT = "marked-subject"
PERSON = "marked-provided@people.example"
PASSWORD = "marked provided umbrellas"
PATH = "/api/v1/session/oidc"
FAILED = "/dashboard#sign-in=sign_in_failed"


@dataclass(frozen=True, slots=True)
class MarkedProvider:
    """`issued`: the file of what it has issued, an answer of its token endpoint a line. `stop`: end it now."""

    issuer: str
    issued: Path
    stop: Callable[[], None]


@contextmanager
def marked_provider(directory: Path, public_url: str) -> Iterator[MarkedProvider | None]:
    """None where its package is not installed. `directory`: in which no secret is looked for."""
    if not is_installed():
        yield None
        return
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [f"{public_url}{PATH}/callback"],
        "application_type": "native",
    }
    issued = directory / "issued"
    account = {"email": PERSON, "email_verified": True, "name": "Ben", "groups": []}
    with ExitStack() as stack:
        running = running_provider(
            clients=[client], keys=[new_key("k")], accounts={SUBJECT: account}, issued=str(issued)
        )
        yield MarkedProvider(stack.enter_context(running), issued, stack.close)


async def through_provider(
    client: Client, provider: MarkedProvider, public_url: str, heard: Heard, secrets: list[str]
) -> None:
    """Signs in, with all that can go wrong before and after; what is told to the browser alone is not noted."""
    body = {"email": PERSON, "name": "Ben", "password": PASSWORD, "owner": True}
    assert (await client.call("POST", "/api/v1/people", body)).status == 201

    async def away() -> tuple[str, dict[str, str]]:
        """The cookie of the way there, and what is brought back."""
        reply = await client.get(PATH)
        assert reply.status == 302, reply.body
        cookie = reply.headers["Set-Cookie"].partition(";")[0]
        text = cookie.partition("=")[2]
        pending = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        brought = await signed_in_at(reply.headers["Location"], SUBJECT, f"{public_url}{PATH}/callback")
        assert brought["state"] == pending["state"]
        secrets.extend((text, pending["state"], pending["nonce"], pending["verifier"], brought["code"]))
        return cookie, brought

    async def back(cookie: str, brought: dict[str, str], **changes: str) -> Reply:
        return await client.get(f"{PATH}/callback?{urlencode({**brought, **changes})}", {"Cookie": cookie})

    cookie, brought = await away()
    for changes in (
        {"state": brought["state"] + "x"},
        {"code": brought["code"] + "x"},
        {"iss": "https://other.example"},
        {"error": "access_denied"},
    ):
        assert heard.reply("the provider", await back(cookie, brought, **changes)).headers["Location"] == FAILED
    heard.reply("the provider", await back("", brought))

    entered = await back(cookie, brought)
    assert (entered.status, entered.headers["Location"]) == (302, "/dashboard")
    session = entered.headers["Set-Cookie"].partition(";")[0]
    secrets.append(session.partition("=")[2])
    shown = await client.get("/api/v1/session", {"Cookie": session})
    assert (shown.status, shown.json["email"]) == (200, PERSON)
    assert heard.reply("the provider", await back(cookie, brought)).headers["Location"] == FAILED, "a code works once"

    answers = [msgspec.json.decode(line) for line in provider.issued.read_bytes().splitlines()]
    assert answers
    for tokens in answers:
        secrets.extend((tokens["id_token"], tokens["access_token"], *tokens["id_token"].split(".")[1:]))
    secrets.append(base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode())
    cookie, brought = await away()
    provider.stop()
    gone = heard.reply("the provider", await back(cookie, brought))
    assert gone.headers["Location"] == "/dashboard#sign-in=provider_unavailable"
    origin = {"Cookie": session, "Origin": client._server.url}
    assert heard.reply("sessions", await client.request("DELETE", "/api/v1/session", None, origin)).status == 204
    assert heard.reply("sessions", await client.get("/api/v1/session", {"Cookie": session})).status == 401
    heard.kept.append(SUBJECT)
