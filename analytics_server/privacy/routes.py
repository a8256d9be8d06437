"""A person's rights over HTTP: export, erasure, opt-outs. All of it on the sites that the caller covers."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import ERASE_PERSON, EXPORT_PERSON, MANAGE_OPT_OUTS
from analytics_server.access.sites.sites import Sites
from analytics_server.errors import NotFound, RequestError
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.http.streams.pieces import send_pieces
from analytics_server.model import stored_site_id
from analytics_server.privacy.certificate import Certificate
from analytics_server.privacy.erasure_jobs import ErasureJob, ErasurePhase
from analytics_server.privacy.erasures import Erasures
from analytics_server.privacy.export import ExportedRows, PersonExport
from analytics_server.privacy.opt_outs import OptOut, OptOuts
from analytics_server.privacy.scope import SiteScope, scope_of

USER_ID_CHARS = 256
ANSWER_S = 2.0
"""So long an erasure may take to be answered with its certificate at once."""

LOOK_AGAIN_S = 1.0
NDJSON, ZIP = "application/x-ndjson", "application/zip"
UserId = Annotated[str, Meta(min_length=1, max_length=USER_ID_CHARS)]


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose data, and how."""

    user_id: UserId
    format: Literal["ndjson", "zip"] = "ndjson"


class EraseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose data. `confirm` must be true. `opt_out`: store nothing of the person any more, at once."""

    user_id: UserId
    confirm: bool = False
    opt_out: bool = False


class OptOutRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who opts out, or no longer does."""

    user_id: UserId


class ErasureView(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure. `phase` is what is being done; the certificate is there when `state` is `done`."""

    id: str
    state: Literal["running", "done"]
    phase: ErasurePhase
    user_hash: str
    sites: tuple[str, ...] | None
    requested_at_ms: int
    certificate: Certificate | None = None


class ErasuresAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Erasures, the oldest first."""

    erasures: list[ErasureView]


class OptOutsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the opt-out list, the oldest first."""

    opt_outs: list[OptOut]


_ERASURE = Parameter(
    name="erasure_id",
    about="The erasure's id.",
    type=Annotated[str, Meta(pattern="^[0-9a-f]{32}$")],
    required=True,
    example="0123456789abcdef0123456789abcdef",
)
_PERSON = {"user": {"user_id": "u-42"}}


class PrivacyRoutes:
    """Handlers for `/api/v1/privacy`."""

    def __init__(self, export: PersonExport, erasures: Erasures, opt_outs: OptOuts, sites: Sites) -> None:
        self._export = export
        self._erasures = erasures
        self._opt_outs = opt_outs
        self._sites = sites

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="POST",
                path="/api/v1/privacy/export",
                name="export_person",
                summary="All that is stored of a person",
                tag="privacy",
                about="Every stored row that names the `user_id`, on the sites that the token covers: one JSON object"
                " a line, with its `table`; or a zip of that and a page for people. What was acknowledged is in it.",
                action=EXPORT_PERSON,
                handle=self.export,
                body=Body(types=(ExportRequest,), examples=_PERSON),
                replies=(Reply(about="The rows, streamed.", formats=(NDJSON, ZIP)),),
                errors={503: ("export_behind",)},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/privacy/erase",
                name="erase_person",
                summary="Erase a person's data",
                tag="privacy",
                about="On the sites that the token covers. Asked again for the same person while it runs, it tells how"
                " far it is; afterwards, it shows the certificate, unless new events came. Where several servers may"
                " share one ClickHouse, it then begins anew: what others have not delivered can't be seen.",
                action=ERASE_PERSON,
                handle=self.erase,
                body=Body(
                    types=(EraseRequest,), examples={"user": {"user_id": "u-42", "confirm": True, "opt_out": False}}
                ),
                replies=(
                    Reply(about="Done, with the certificate.", type=ErasureView),
                    Reply(status=202, about="It runs: ask again.", type=ErasureView),
                ),
                errors={400: ("not_confirmed",)},
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/privacy/erasures",
                name="list_erasures",
                summary="All erasures",
                tag="privacy",
                about="Those whose sites the token covers.",
                action=ERASE_PERSON,
                handle=self.list_erasures,
                replies=(Reply(about="The oldest first.", type=ErasuresAnswer),),
            ),
            Endpoint(
                method="GET",
                path="/api/v1/privacy/erasures/{erasure_id}",
                name="get_erasure",
                summary="How far an erasure is",
                tag="privacy",
                action=ERASE_PERSON,
                handle=self.show_erasure,
                parameters=(_ERASURE,),
                replies=(
                    Reply(about="Done, with the certificate.", type=ErasureView),
                    Reply(status=202, about="It runs: ask again.", type=ErasureView),
                ),
                errors={404: ("unknown_erasure",)},
            ),
            Endpoint(
                method="GET",
                path="/api/v1/privacy/opt-outs",
                name="list_opt_outs",
                summary="Who has opted out",
                tag="privacy",
                about="Users as keyed hashes, on the sites that the token covers; an empty `site_id` means all sites.",
                action=MANAGE_OPT_OUTS,
                handle=self.list_opt_outs,
                replies=(Reply(about="The oldest first.", type=OptOutsAnswer),),
            ),
            Endpoint(
                method="POST",
                path="/api/v1/privacy/opt-outs",
                name="add_opt_out",
                summary="Store no events of a user any more",
                tag="privacy",
                about="On the sites that the token covers. All servers know within five seconds. The user is kept as a"
                " keyed hash only.",
                action=MANAGE_OPT_OUTS,
                handle=self.add_opt_out,
                body=Body(types=(OptOutRequest,), examples=_PERSON),
                replies=(Reply(about="The user's entries.", type=OptOutsAnswer),),
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/privacy/opt-outs",
                name="remove_opt_out",
                summary="Store events of a user again",
                tag="privacy",
                about="On the sites that the token covers. All servers know within five seconds.",
                action=MANAGE_OPT_OUTS,
                handle=self.remove_opt_out,
                body=Body(types=(OptOutRequest,), examples=_PERSON),
                replies=(Reply(status=204, about="The user is not on the list (any more)."),),
                asks_store=True,
            ),
        ]

    # ---- handlers ------------------------------------------------------

    async def export(self, call: Call[ExportRequest]) -> web.StreamResponse:
        """The rows, streamed. Raises `Unavailable`, a store error."""
        wanted, scope = call.body, scope_of(call, self._sites)
        call.trail.details["user_hash"], call.trail.sites = self._opt_outs.hash_of(wanted.user_id), scope.audited
        await self._export.begin()
        is_zip = wanted.format == "zip"
        told = ExportedRows()
        pieces = (self._export.zip if is_zip else self._export.ndjson)(wanted.user_id, scope, told=told)
        headers = {
            "Content-Type": ZIP if is_zip else NDJSON,
            "Content-Disposition": f'attachment; filename="export.{wanted.format}"',
        }
        try:
            return await send_pieces(call.request, pieces, headers)
        finally:
            _tell_rows(call.trail, scope, told)

    async def erase(self, call: Call[EraseRequest]) -> web.Response:
        """Begin, or tell how far it is. Raises `RequestError`, a store error."""
        wanted, scope = call.body, scope_of(call, self._sites)
        if not wanted.confirm:
            raise RequestError("An erasure can't be undone: send confirm: true with it.", code="not_confirmed")
        if wanted.opt_out:
            await self._opt_outs.add(wanted.user_id, scope.sites or ())
        job = await self._erasures.request(wanted.user_id, scope, opted_out=wanted.opt_out)
        call.trail.resource = job.id
        call.trail.details["user_hash"] = job.user_hash
        if wanted.opt_out:
            call.trail.details["opt_out"] = "true"
        job = await self._erasures.wait(job, ANSWER_S)
        call.trail.sites = scope.audited or (tuple(map(stored_site_id, job.removed_of)) if job.is_done else ())
        return _answer(job)

    async def list_erasures(self, call: Call[None]) -> ErasuresAnswer:
        """Those that the caller may see."""
        scope = scope_of(call, self._sites)
        await self._erasures.jobs.documents.refresh(LOOK_AGAIN_S)
        return ErasuresAnswer(erasures=[view_of(job) for job in self._erasures.jobs.all() if _may_see(scope, job)])

    async def show_erasure(self, call: Call[None]) -> web.Response:
        """One of them. Raises `NotFound`."""
        scope = scope_of(call, self._sites)
        await self._erasures.jobs.documents.refresh(LOOK_AGAIN_S)
        job = self._erasures.jobs.get(call.path("erasure_id"))
        if job is None or not _may_see(scope, job):
            raise NotFound(
                "There is no erasure of that id: GET /api/v1/privacy/erasures lists them.", code="unknown_erasure"
            )
        return _answer(job)

    async def list_opt_outs(self, call: Call[None]) -> OptOutsAnswer:
        """The entries that the caller may see."""
        scope = scope_of(call, self._sites)
        return OptOutsAnswer(opt_outs=self._opt_outs.of_sites(scope.covers, all_sites=scope.sites is None))

    async def add_opt_out(self, call: Call[OptOutRequest]) -> OptOutsAnswer:
        """Put a user on the list. Raises a store error."""
        scope = scope_of(call, self._sites)
        entries = await self._opt_outs.add(call.body.user_id, scope.sites or ())
        call.trail.rows, call.trail.sites = len(entries), scope.audited
        call.trail.site_rows = dict.fromkeys(scope.audited, 1)
        call.trail.details["user_hash"] = self._opt_outs.hash_of(call.body.user_id)
        return OptOutsAnswer(opt_outs=entries)

    async def remove_opt_out(self, call: Call[OptOutRequest]) -> None:
        """Take a user off the list. Raises a store error."""
        scope = scope_of(call, self._sites)
        removed = await self._opt_outs.remove(call.body.user_id, scope.sites or ())
        call.trail.rows = len(removed)
        call.trail.sites = scope.audited or tuple(map(stored_site_id, removed))
        call.trail.site_rows = Counter(map(stored_site_id, removed))
        call.trail.details["user_hash"] = self._opt_outs.hash_of(call.body.user_id)


def _may_see(scope: SiteScope, job: ErasureJob) -> bool:
    return scope.includes(job.scope)


def _tell_rows(trail: AuditTrail, scope: SiteScope, told: ExportedRows) -> None:
    """How many lines were written: of all sites, an entry for each that has one."""
    trail.rows, trail.sites = told.total, scope.audited or tuple(told.of_sites)
    trail.site_rows = dict.fromkeys(scope.audited, 0) | told.of_sites


def _answer(job: ErasureJob) -> web.Response:
    return json_response(view_of(job), status=200 if job.is_done else 202)


def view_of(job: ErasureJob) -> ErasureView:
    """An erasure as it is shown."""
    return ErasureView(
        id=job.id,
        state="done" if job.is_done else "running",
        phase=job.phase,
        user_hash=job.user_hash,
        sites=job.scope.sites,
        requested_at_ms=job.requested_at_ms,
        certificate=job.certificate,
    )
