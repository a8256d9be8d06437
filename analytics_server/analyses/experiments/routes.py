"""Experiments over HTTP: planning, results and assignment. Definitions are saved things (`saved_experiments`).

The assignment alone is public and readable from any page: it answers from memory, and tells nothing but a variant.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import PLAN_EXPERIMENT, QUERY_SITE
from analytics_server.analyses.experiments.answer import ResultsAnswer
from analytics_server.analyses.experiments.assignment import assign
from analytics_server.analyses.experiments.directory import Directory, Known, unknown
from analytics_server.analyses.experiments.planning import PlanAnswer, PlanRequest, plan_experiment
from analytics_server.analyses.experiments.results import ResultsRequest, run_results, sites_with_exposures
from analytics_server.errors import AnalyticsError, RequestError
from analytics_server.http.answer import error_response
from analytics_server.http.authorization import PUBLIC, Caller
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import known_values
from analytics_server.model import stored_site_id
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, REQUEST_CODES, query_body
from analytics_server.spelling.host_names import AllowedHosts, readable_host

CHECK_CODES = (*REQUEST_CODES, *FILTER_CODES, "bad_experiment", "bad_step", "bad_window")
"""What a definition can be refused with."""

PATH = "/api/v1/experiments"
SUBJECT_CHARS = 256
ASSIGN_MAX_AGE_S = 60
CORS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}


_ID_OR_KEY = Parameter(
    name="id", about="The definition's id, or the experiment's key or name.", required=True, example="cta"
)


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What to show. `variant` null: the subject is not taken in; show what was there before and send no exposure."""

    experiment: str
    variant: str | None


class ExperimentRoutes:
    """Handlers for planning, results and assignment."""

    def __init__(self, context: QueryContext, directory: Directory) -> None:
        self._context = context
        self._directory = directory

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        reading = query_body(self._context.limits)
        subject = Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARS)]
        return [
            Endpoint(
                method="POST",
                path=f"{PATH}/plan",
                is_question=True,
                name="plan_experiment",
                summary="How many subjects it takes",
                tag="experiments",
                action=PLAN_EXPERIMENT,
                handle=self.plan,
                reading=reading,
                body=Body(
                    types=(PlanRequest,),
                    examples={"a tenth more": {"baseline": 0.04, "minimal_effect": 0.1, "daily_subjects": 2_000}},
                ),
                replies=(Reply(about="Subjects per variant and in all, and days.", type=PlanAnswer),),
                errors={400: ("bad_json", "bad_request", "unknown_key", "bad_effect")},
            ),
            Endpoint(
                method="POST",
                path=f"{PATH}/{{id}}/results",
                is_question=True,
                name="experiment_results",
                summary="What came of it",
                tag="experiments",
                action=QUERY_SITE,
                site=SiteFrom.HANDLER,
                handle=self.results,
                reading=query_body(self._context.limits, if_empty=b"{}"),
                parameters=(_ID_OR_KEY,),
                body=Body(
                    types=(ResultsRequest,),
                    examples={
                        "as defined": {},
                        "without a definition": {"site_id": "example.com", "goal": "signup", "date_range": "30d"},
                    },
                ),
                replies=(Reply(about="Per variant and goal.", type=ResultsAnswer),),
                errors={
                    400: (*CHECK_CODES, "too_many", "no_goal", "site_needed"),
                    404: ("unknown_experiment", "unknown_site"),
                },
                asks_store=True,
                takes_turns=True,
            ),
            Endpoint(
                method="GET",
                path=f"{PATH}/{{id}}/assign",
                name="assign_variant",
                summary="Which variant a subject is shown",
                tag="experiments",
                about="Public, from any page. The same answer for the same subject on every server.",
                action=PUBLIC,
                serve=self.assign,
                parameters=(
                    _ID_OR_KEY,
                    Parameter(
                        name="subject",
                        about="What the client knows it by.",
                        type=subject,
                        required=True,
                        example="u-42",
                    ),
                    Parameter(
                        name="site_id",
                        about="Whose experiment; without it the asking page's site decides, else who had the key "
                        "first.",
                        example="example.com",
                    ),
                ),
                replies=(Reply(about="The variant, or null while no subjects are taken in.", type=Assignment),),
                errors={400: ("bad_request", "bad_subject", "unknown_key"), 404: ("unknown_experiment",)},
            ),
            Endpoint(
                method="OPTIONS",
                path=f"{PATH}/{{id}}/assign",
                name="assign_variant_preflight",
                summary="What browsers ask before they ask from another page",
                tag="experiments",
                action=PUBLIC,
                serve=self.preflight,
                parameters=(_ID_OR_KEY,),
                replies=(Reply(status=204, about="GET is allowed from anywhere."),),
            ),
        ]

    async def plan(self, call: Call[PlanRequest]) -> PlanAnswer:
        """Arithmetic only: any token will do."""
        return plan_experiment(call.body)

    async def results(self, call: Call[ResultsRequest]) -> ResultsAnswer:
        """Results of a definition, or of exposures without one. Of sites not covered nothing is told."""
        asked, caller = call.body, call.caller
        id_or_key, site_id = call.path("id"), self._context.own_id(asked.site_id)
        if site_id:
            call.authorize(site_id)
            found = self._directory.find(id_or_key, site_id)
        else:
            found = self._directory.find_covered(
                id_or_key, lambda each: caller.covers(each) and self._context.has_site(each)
            )
            site_id = found.thing.site_id if found else await self._site_of_exposures(caller, id_or_key)
            call.authorize(site_id)
        site = self._context.site(site_id)
        return await run_results(self._context, site, id_or_key, found.thing if found else None, asked)

    async def assign(self, request: web.Request) -> web.Response:
        """Public: errors are readable from any page as well."""
        try:
            answer = self._assign(request)
        except AnalyticsError as error:
            return error_response(error, {**CORS, "Cross-Origin-Resource-Policy": "cross-origin"})
        headers = {**CORS, "Cache-Control": f"private, max-age={ASSIGN_MAX_AGE_S}", "Vary": "Origin, Referer"}
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json", headers=headers)

    async def preflight(self, request: web.Request) -> web.Response:
        """What a browser asks before it asks from another page."""
        return web.Response(status=204, headers=PREFLIGHT)

    async def _site_of_exposures(self, caller: Caller, key: str) -> str:
        """The only site that the token covers where an experiment without a definition was shown."""
        found = [site_id for site_id in await sites_with_exposures(self._context, key) if caller.covers(site_id)]
        if not found:
            raise unknown(key)
        if len(found) > 1:
            raise RequestError(
                f"No experiment {key[:120]!r} is saved, and several sites have exposures of it: name the site:"
                ' {"site_id": "example.com"}.',
                code="site_needed",
            )
        return found[0]

    def _assign(self, request: web.Request) -> Assignment:
        given = known_values(request, "subject", "site_id")
        subject = given["subject"]
        if not 0 < len(subject) <= SUBJECT_CHARS:
            raise RequestError(
                f"subject must have 1 to {SUBJECT_CHARS} characters: what you know the person or session by, the same"
                " at each call.",
                code="bad_subject",
            )
        id_or_key = request.match_info["id"]
        site_id = self._context.own_id(given["site_id"])
        known = self._directory.find(id_or_key, site_id) if site_id else self._find_public(request, id_or_key)
        if known is None or not self._context.has_site(known.thing.site_id):
            raise unknown(id_or_key)
        body = known.body
        variant = None
        if body.is_open(self._context.now()):
            variant = assign(body.key, subject, [(variant.name, variant.weight) for variant in body.variants])
        return Assignment(experiment=body.key, variant=variant)

    def _find_public(self, request: web.Request, id_or_key: str) -> Known | None:
        """Without a site in the call: of the page's own site, of one that allows the page's host, else who was first.

        A page whose host is a site gets no other site's variants.
        """
        found = self._directory.find_first(id_or_key, self._context.has_site)
        if not found or found[0].thing.id == id_or_key:
            return found[0] if found else None
        hosts = _hosts_of_page(request)
        own = [known for known in found if stored_site_id(known.thing.site_id) in hosts]
        allowing = [known for known in found if self._allows(known.thing.site_id, hosts)]
        others = [] if any(self._context.has_site(host) for host in hosts) else found
        return next(iter([*own, *allowing, *others]), None)

    def _allows(self, site_id: str, hosts: frozenset[str]) -> bool:
        allowed = AllowedHosts(self._context.site(site_id).allowed_hosts)
        return any(map(allowed.hold, hosts))


def _hosts_of_page(request: web.Request) -> frozenset[str]:
    """How the site of the asking page may be called: its host with and without the port and "www."."""
    address = request.headers.get("Origin", "")
    if not address.startswith("http"):
        address = request.headers.get("Referer", "")
    try:
        parts = urlsplit(address.lower())
        hosts = {readable_host(parts.netloc.rpartition("@")[2]), readable_host(parts.hostname or "")}
    except ValueError:
        return frozenset()
    return frozenset({*hosts, *(host.removeprefix("www.") for host in hosts)} - {""})
