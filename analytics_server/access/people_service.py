"""People of one server: accounts, sessions and sign-in, with their routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CollectorRegistry

from analytics_server.access.links.link_creation import LinkScopes
from analytics_server.access.links.link_routes import LinkRoutes
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.oidc.people import OidcPeople, RoleMapping
from analytics_server.access.oidc.provider import OidcProvider
from analytics_server.access.oidc.routes import CALLBACK_PATH, OidcRoutes, SignInMethods, methods_endpoint
from analytics_server.access.oidc.sign_in import OidcClient, OidcSignIn
from analytics_server.access.people.accounts import Accounts, invitation_link
from analytics_server.access.people.attempts import AttemptCounter, SignInAttempts, TooManyAttempts
from analytics_server.access.people.invitation_routes import InvitationRoutes, NotSent
from analytics_server.access.people.people_routes import PeopleRoutes
from analytics_server.access.people.reset_routes import ResetRoutes
from analytics_server.access.people.resets import PasswordResets
from analytics_server.access.people.session_routes import SessionRoutes
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.people.sign_in import SignIn
from analytics_server.access.principals import Principal
from analytics_server.config import Config
from analytics_server.http.audit import Recorder
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.lifecycle import BackgroundTasks
from analytics_server.mail.mailer import Mailer, MailNotSent
from analytics_server.mail.texts import invitation_text
from analytics_server.store import Store
from analytics_server.store.lease import SharedTurn
from analytics_server.store.unreadable import UnreadableDocuments

LINK_TURN_S = 10.0
"""A server that is killed while it uses up a link keeps others from it for so long."""


def _turn(store: Store, name: str) -> AbstractAsyncContextManager[None]:
    return SharedTurn(store, name, holder="accept", ttl_s=LINK_TURN_S).taken()


class PeopleService:
    """Everything about people who sign in."""

    def __init__(
        self,
        config: Config,
        store: Store,
        unreadable: UnreadableDocuments,
        refresh_s: float,
        holder: Callable[[str], Awaitable[Principal | None]],
        shared_from_ms: Callable[[str], int | None],
        public_site: Callable[[str], str],
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`holder`: of a token's id; `shared_from_ms`, `public_site`: as `ShareLinks` takes them."""
        self._config = config
        self.people = Accounts(store, unreadable=unreadable, refresh_s=refresh_s)
        self.sessions = PersonSessions(store, self.people, config.access, unreadable=unreadable, refresh_s=refresh_s)
        self.sign_in = SignIn(
            self.people,
            self.sessions,
            config.access,
            by_password=not config.oidc.only,
            holder=holder,
            turn=partial(_turn, store),
        )
        self.links = ShareLinks(
            store,
            unreadable=unreadable,
            refresh_s=refresh_s,
            shared_from_ms=shared_from_ms,
            public_site=public_site,
        )
        self.cookies = SessionCookies(config.server.public_url)
        self.mailer, self._public_url = Mailer(config.mail, registry), config.server.public_url.rstrip("/")
        self._by_recipient = AttemptCounter(config.mail.messages_per_recipient, config.access.sign_in_window_s)
        self.resets = PasswordResets(
            self.people,
            self.mailer,
            config.mail,
            window_s=config.access.sign_in_window_s,
            server=self._public_url,
            link_of=partial(invitation_link, self._public_url),
            by_password=not config.oidc.only,
            registry=registry,
        )

    def start(self, tasks: BackgroundTasks) -> None:
        """Begin to write, and to delete what has ended, in the background."""
        tasks.start(self.sessions.uses.run, "session-uses")
        tasks.start(self.people.run, "invitations")
        tasks.start(self.resets.run, "password-resets")

    async def close(self) -> None:
        """Write what is not written yet."""
        await self.sessions.uses.close()

    def endpoints(
        self,
        client_of: Callable[[web.Request], str],
        scopes: LinkScopes,
        recorder: Recorder | None = None,
        *,
        has_site: Callable[[str], bool],
    ) -> list[Endpoint]:
        """People, invitations, sessions, and share links with their `scopes`.

        `client_of` tells clients apart; `recorder` takes audit entries; `has_site`: is there a site of that id?
        """
        invitations = InvitationRoutes(
            self.people,
            self.sign_in,
            life_s=self._config.access.invitation_s,
            link_of=self._link_of,
            client_of=client_of,
            recorder=recorder,
            invite_by_mail=self._invite_by_mail,
            has_site=has_site,
        )
        links = LinkRoutes(
            self.links,
            self.sign_in.passwords,
            SignInAttempts(self._config.access),
            scopes,
            link_of=self._share_link_of,
            client_of=client_of,
            recorder=recorder,
        )
        return [
            *self._methods(client_of, recorder),
            *SessionRoutes(self.people, self.sessions, self.sign_in, self.cookies, client_of, recorder).endpoints(),
            *ResetRoutes(self.resets, self.people, self.cookies, client_of, recorder).endpoints(),
            *PeopleRoutes(self.people, self.sign_in.passwords, has_site).endpoints(),
            *invitations.endpoints(),
            *links.endpoints(),
        ]

    def _methods(self, client_of: Callable[[web.Request], str], recorder: Recorder | None) -> list[Endpoint]:
        """How people may sign in, and the way through a provider if there is one."""
        oidc, access = self._config.oidc, self._config.access
        if not oidc.issuer:
            return [methods_endpoint(SignInMethods(password=True, provider="", reset=self.resets.is_on))]
        public_url = self._config.server.public_url.rstrip("/")
        client = OidcClient(
            client_id=oidc.client_id,
            client_secret=oidc.client_secret,
            redirect_url=f"{public_url}{CALLBACK_PATH}",
            scopes=oidc.scopes,
            role_claim=oidc.role_claim,
            skew_s=oidc.clock_skew_s,
        )
        routes = OidcRoutes(
            OidcSignIn(OidcProvider(oidc.issuer), client),
            OidcPeople(self.people, RoleMapping(oidc.roles)),
            self.sessions,
            self.cookies,
            AttemptCounter(access.sign_ins_per_address, access.sign_in_window_s),
            base=urlsplit(public_url).path,
            client_of=client_of,
            recorder=recorder,
        )
        methods = SignInMethods(password=not oidc.only, provider=oidc.name, reset=self.resets.is_on)
        return [methods_endpoint(methods), *routes.endpoints()]

    async def _invite_by_mail(self, email: str, secret: str) -> NotSent | None:
        """Send the link of an invitation; None where the mail server has taken it, else why not."""
        if not self.mailer.is_on:
            return NotSent.MAIL_OFF
        link, life_s = invitation_link(self._public_url, secret), self._config.access.invitation_s
        try:
            self._by_recipient.take(email)
        except TooManyAttempts:
            self.mailer.counter.labels("dropped").inc()
            return NotSent.TOO_MANY_MESSAGES
        try:
            await self.mailer.send(email, invitation_text(self._public_url, link, life_s))
        except MailNotSent:
            self._by_recipient.forgive(email)
            return NotSent.MAIL_NOT_SENT
        return None

    def _link_of(self, request: web.Request, secret: str) -> str:
        return invitation_link(self._base(request), secret)

    def _share_link_of(self, request: web.Request, secret: str) -> str:
        return f"{self._base(request)}/share/{secret}"

    def _base(self, request: web.Request) -> str:
        return self._public_url or f"{request.scheme}://{request.host}"
