"""The saved type `funnel`: what is sent and shown, and what is checked before one is saved.

A saved funnel has tables of its own, which are filled in the background (`materialized`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.analyses.funnels.answer import Status
from analytics_server.analyses.funnels.definition import By, ExclusionSpec, FunnelBody, Order, SiteId
from analytics_server.analyses.funnels.materialized.definitions import MAX_SAVED, SavedFunnels
from analytics_server.analyses.funnels.materialized.facts import make_facts
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.routes import FUNNEL_CODES, PATH, example
from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.query.language.event_match import NAME_CHARS, EventSpec
from analytics_server.saved.store import Kind, SavedThing
from analytics_server.saved.types import SavedText, SavedTexts, SavedType

SavedName = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS, pattern=r"^\S(.*\S)?$")]


class SavedFunnelRequest(FunnelBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/funnels/saved`."""

    site_id: SiteId
    name: SavedName


class SavedFunnelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/v1/funnels/saved/{id}`: what is left out stays."""

    site_id: SiteId | UnsetType = UNSET
    name: SavedName | UnsetType = UNSET
    steps: tuple[EventSpec, ...] | UnsetType = UNSET
    window: int | str | UnsetType = UNSET
    order: Order | UnsetType = UNSET
    by: By | UnsetType = UNSET
    exclude: tuple[ExclusionSpec, ...] | UnsetType = UNSET
    filters: tuple[object, ...] | UnsetType = UNSET


class SavedFunnelAnswer(FunnelBody, frozen=True, kw_only=True):
    """A saved funnel. `status`: `ready` when its own table answers, `building` while its history is read into it.

    `failed`: what it names is gone, such as a goal; `reason` says what. `progress`: per cent of the history.
    """

    id: str
    site_id: str
    name: str
    status: Status
    progress: float
    reason: str
    created_at_ms: int
    updated_at_ms: int


class SavedFunnelsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's saved funnels, by name."""

    funnels: list[SavedFunnelAnswer]


def funnel_type(context: QueryContext, funnels: SavedFunnels, maintenance: FunnelMaintenance) -> SavedType:
    """Funnels. `maintenance` fills their tables, and drops those of funnels that are deleted or changed."""

    async def check(asked: SavedFunnelRequest, site: Site, before: SavedThing | None) -> tuple[str, FunnelBody]:
        """A funnel's goals, segments and patterns can be read, and a table can be made for it."""
        body = FunnelBody(**{key: getattr(asked, key) for key in FunnelBody.__struct_fields__})
        funnel = funnels.funnel(site.site_id, body)
        await context.check_patterns(funnel.conditions())
        make_facts(before.id if before else "0", site.site_id, funnel)
        return asked.name, body

    def details(thing: SavedThing, site: Site) -> Mapping[str, object]:
        try:
            state = maintenance.state(funnels.facts(thing))
        except RequestError as error:
            return {"status": "failed", "progress": 0.0, "reason": error.message}
        return {"status": state.status, "progress": state.progress, "reason": state.reason}

    async def after_put(thing: SavedThing, before: SavedThing | None) -> None:
        if before is not None:
            await maintenance.forget(before, now=thing)
        maintenance.wake()

    return SavedType(
        kind=Kind.FUNNEL,
        noun="funnel",
        plural="funnels",
        path=f"{PATH}/saved",
        request=SavedFunnelRequest,
        change=SavedFunnelChange,
        body=FunnelBody,
        answer=SavedFunnelAnswer,
        answers=SavedFunnelsAnswer,
        check=check,
        details=details,
        after_put=after_put,
        after_delete=maintenance.forget,
        most_per_site=MAX_SAVED,
        texts=SavedTexts(
            tag="saved",
            list_all=SavedText(
                "list_funnels", "A site's saved funnels", "With how far the tables of each are.", "By name."
            ),
            create=SavedText(
                "create_funnel",
                "Save a new funnel",
                "Its table is filled in the background; until then answers are as right, only slower.",
                "Saved.",
            ),
            show=SavedText("get_funnel", "One saved funnel", "", "The funnel."),
            change=SavedText(
                "change_funnel",
                "Change a saved funnel",
                "What is left out stays. A change of what it counts fills a new table.",
                "The funnel as it is now.",
            ),
            delete=SavedText("delete_funnel", "Delete a saved funnel", "Its tables go with it.", "Deleted."),
            examples={"funnel": example(name="From price to purchase")},
            changes={"window": {"window": "30d"}},
            codes=FUNNEL_CODES,
        ),
    )
