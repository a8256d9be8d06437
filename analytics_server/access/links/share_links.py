"""Share links: read-only access to one site for anyone with the link, kept in the table `people`.

A link's secret is 256 random bits, shown once and stored by a keyed hash. Opening it, with its password if it has one,
gives a token that needs no storage: the secret, an end, and an HMAC of both under a key that only the stored link has
and that changes with its password. So a token is known on every server, and ends with the link.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from analytics_server.access.links.public_sites import PUBLIC_ID, public_link, public_secret, site_asked
from analytics_server.access.people.accounts import PEOPLE
from analytics_server.access.principals import Principal
from analytics_server.access.stored_link import KIND, SECRET_PREFIX, ShareLink
from analytics_server.access.tokens import ID_CHARS, keyed_hash, new_hash, token_hash
from analytics_server.errors import Conflict, RequestError, Unauthorized
from analytics_server.store.documents import Documents, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

MOST_PER_SITE = 200
OPEN_S = 43_200
_END = re.compile("[0-9a-f]{1,12}")


def _decode(key: Key, text: str) -> ShareLink | None:
    return msgspec.json.decode(text, type=ShareLink) if key[0] == KIND else None


class ShareLinks:
    """All links, in memory, refreshed from ClickHouse."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
        refresh_s: float = 0.5,
        shared_from_ms: Callable[[str], int | None] = lambda site_id: 0,
        public_site: Callable[[str], str] = lambda site_id: "",
    ) -> None:
        """`shared_from_ms`: since when the site may be shared, None where its profile forbids that. `public_site`: the
        id of the public site of that name, in any spelling, or ""."""
        self._shared_from_ms = shared_from_ms
        self._public_site = public_site
        self._clock = clock
        self._refresh_s = refresh_s
        self._documents = Documents[ShareLink | None](
            store,
            PEOPLE,
            decode=_decode,
            encode=lambda link: msgspec.json.encode(link).decode(),
            label=lambda key: (key[0], key[1]),
            clock=clock,
            unreadable=unreadable,
        )

    def now(self) -> datetime:
        """The clock by which links end."""
        return datetime.fromtimestamp(self._clock(), UTC)

    async def load(self) -> None:
        """Read all links. Raises a store error."""
        await self._documents.load()

    def of_site(self, site_id: str) -> list[ShareLink]:
        """A site's links, the oldest first; none of before sharing was forbidden."""
        found = [each for each in self._all_of_site(site_id) if not self._is_closed(each)]
        return sorted(found, key=lambda each: (each.created_at_ms, each.id))

    def open_of_site(self, site_id: str) -> list[ShareLink]:
        """A site's links that can be opened now, the oldest first."""
        if not self._may_share(site_id):
            return []
        return [each for each in self.of_site(site_id) if not self._has_ended(each)]

    def _has_ended(self, link: ShareLink) -> bool:
        return link.expires_at is not None and link.expires_at <= self.now()

    def _all_of_site(self, site_id: str) -> list[ShareLink]:
        return [each for _, each in self._documents.items() if each is not None and each.site_id == site_id]

    def _is_closed(self, link: ShareLink) -> bool:
        """Is it over for good, as the site has been closed to links since it was made?"""
        return 0 < link.created_at_ms <= (self._shared_from_ms(link.site_id) or 0)

    def _may_share(self, site_id: str) -> bool:
        return self._shared_from_ms(site_id) is not None

    def get(self, id_: str) -> ShareLink | None:
        """The link of that id."""
        return self._documents.get((KIND, id_))

    def known(self, secret: str) -> ShareLink | None:
        """The link of a secret as far as memory knows, if it has not ended; or that of a public site."""
        if (asked := site_asked(secret)) and (public := self._of_public_site(asked)):
            return public
        link = self.get(token_hash(secret)[:ID_CHARS])
        if link is None:
            return self._of_public_site(secret)  # a site's id may begin as a secret does
        if not hmac.compare_digest(keyed_hash(secret, link.hash_key), link.hash):
            return None
        if self._has_ended(link) or not self._may_share(link.site_id):
            return None
        return None if self._is_closed(link) else link

    def _of_public_site(self, asked: str) -> ShareLink | None:
        site_id = self._public_site(asked)
        return public_link(site_id) if site_id and self._may_share(site_id) else None

    async def find(self, secret: str) -> ShareLink | None:
        """The link of a secret, if it has not ended."""
        await self._documents.refresh(self._refresh_s)
        return self.known(secret)

    async def framed_by(self, secret: str) -> tuple[str, ...]:
        """The hosts whose pages may frame the link's page."""
        link = await self.find(secret)
        return () if link is None else link.embed_hosts

    async def create(
        self,
        site_id: str,
        *,
        name: str = "",
        filters: tuple[Any, ...] = (),
        segment: str = "",
        threshold: int = 0,
        embed_hosts: tuple[str, ...] = (),
        password_hash: str = "",
        expires_at: datetime | None = None,
    ) -> tuple[ShareLink, str]:
        """Make a link, and its secret, which is shown this once.

        Raises `Conflict`, `RequestError`, or a store error.
        """
        if not self._may_share(site_id):
            raise RequestError(
                "The profile of the site forbids sharing its numbers by a link.", code="forbidden_by_profile"
            )
        async with self._documents.changing:
            await self.load()
            closed = [each for each in self._all_of_site(site_id) if self._is_closed(each)]
            await self._documents.delete_all([(KIND, each.id) for each in closed])
            if len(self.of_site(site_id)) >= MOST_PER_SITE:
                raise Conflict(f"The site has {MOST_PER_SITE} share links already: delete some.", code="too_many")
            secret = SECRET_PREFIX + secrets.token_urlsafe(32)
            key, hash_ = new_hash(secret)
            link = ShareLink(
                id=token_hash(secret)[:ID_CHARS],
                site_id=site_id,
                name=name,
                filters=filters,
                segment=segment,
                threshold=threshold,
                embed_hosts=embed_hosts,
                password_hash=password_hash,
                expires_at=expires_at,
                created_at_ms=max(int(self._clock() * 1000), (self._shared_from_ms(site_id) or 0) + 1),
                hash_key=key,
                hash=hash_,
            )
            await self._documents.put((KIND, link.id), link)
            return link, secret

    async def delete(self, id_: str) -> None:
        """Delete a link for good. Raises a store error."""
        async with self._documents.changing:
            await self._documents.delete((KIND, id_))

    # ---- tokens of opened links ----------------------------------------

    def token_of(self, link: ShareLink, secret: str) -> str:
        """A token for who has opened the link, for twelve hours."""
        end = f"{int(self._clock()) + OPEN_S:x}"
        if link.id == PUBLIC_ID:
            secret = public_secret(link.site_id)
        return f"{secret}.{end}.{_mac(link, secret, end)}"

    async def authenticate(self, token: str) -> Principal:
        """The principal of an opened link's token. Raises `Unauthorized`."""
        secret, _, rest = token.partition(".")
        end, _, mac = rest.partition(".")
        link = await self.find(secret)
        if link is None or not hmac.compare_digest(_mac(link, secret, end).encode(), mac.encode("utf-8", "replace")):
            raise Unauthorized("The link is unknown, was revoked, or has ended.")
        if not _END.fullmatch(end) or int(end, 16) <= self._clock():  # of a public site's token anyone knows the key
            raise Unauthorized("The link was opened long ago: open it again.")
        return link.principal()


def _mac(link: ShareLink, secret: str, end: str) -> str:
    key = f"{link.hash_key}\n{link.password_hash}".encode()
    return hmac.new(key, f"{secret}\n{end}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
