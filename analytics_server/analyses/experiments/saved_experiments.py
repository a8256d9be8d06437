"""The saved type `experiment`: what is sent and shown, and what is checked before one is saved."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from analytics_server.analyses.experiments.definition import (
    Definition,
    ExperimentBody,
    ExperimentRequest,
    Goals,
    Moment,
    Name,
    SiteId,
    Status,
    Variants,
    Window,
    check_definition,
)
from analytics_server.analyses.experiments.directory import Directory
from analytics_server.analyses.experiments.routes import CHECK_CODES, PATH
from analytics_server.http.declaration import Parameter
from analytics_server.model import Site
from analytics_server.query.context import QueryContext, zone_of
from analytics_server.query.language.event_match import NAME_CHARS
from analytics_server.saved.store import Kind, SavedThing, body_of
from analytics_server.saved.types import SavedText, SavedTexts, SavedType


class ExperimentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/v1/experiments/{id}`: what is left out stays as it is."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    variants: Variants | UnsetType = UNSET
    key: Annotated[str, Meta(max_length=NAME_CHARS)] | UnsetType = UNSET
    control: Annotated[str, Meta(max_length=NAME_CHARS)] | UnsetType = UNSET
    goals: Goals | UnsetType = UNSET
    window: Window | UnsetType = UNSET
    start: Moment | UnsetType | None = UNSET
    end: Moment | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class ExperimentAnswer(Definition, frozen=True, kw_only=True):
    """A definition with its id, as the API shows it."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int


class ExperimentsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The definitions of a site, by name."""

    experiments: list[ExperimentAnswer]


def experiment_type(context: QueryContext, directory: Directory) -> SavedType:
    """Experiments. `directory` knows which keys are taken."""

    async def check(asked: ExperimentRequest, site: Site, before: SavedThing | None) -> tuple[str, ExperimentBody]:
        """A definition whose results can be asked for; a key or name that stays keeps the time since it is in use."""
        old = body_of(before, ExperimentBody) if before else None
        body, conditions = check_definition(asked, context.library(site.site_id), zone_of(site), context.now(), old)
        await context.check_patterns(conditions)
        now_ms = int(context.now().timestamp() * 1000)
        body = replace(body, key_since_ms=now_ms, name_since_ms=now_ms)
        if before is not None and old is not None:
            if old.key == body.key:
                body = replace(body, key_since_ms=old.key_since_ms or before.created_at_ms)
            if before.name == asked.name:
                body = replace(body, name_since_ms=old.name_since_ms or before.created_at_ms)
        directory.refuse_taken_key(site.site_id, body.key, before.id if before else "")
        return asked.name, body

    return SavedType(
        kind=Kind.EXPERIMENT,
        noun="experiment",
        plural="experiments",
        path=PATH,
        request=ExperimentRequest,
        change=ExperimentChange,
        body=ExperimentBody,
        answer=ExperimentAnswer,
        answers=ExperimentsAnswer,
        check=check,
        texts=SavedTexts(
            tag="experiments",
            list_all=SavedText("list_experiments", "The experiments of a site", "", "By name."),
            create=SavedText("create_experiment", "Define an experiment", "", "The definition with its id."),
            show=SavedText("show_experiment", "One definition", "", "The definition."),
            change=SavedText(
                "change_experiment",
                "Change a definition",
                "What is left out stays as it is.",
                "The definition as it is now.",
            ),
            delete=SavedText("delete_experiment", "Delete a definition", "Its events stay.", "It is gone."),
            examples={
                "two variants": {
                    "site_id": "example.com",
                    "name": "Call to action",
                    "key": "cta",
                    "variants": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}],
                    "goals": ["signup", {"name": "purchase", "filters": [["is", "event:props:plan", ["pro"]]]}],
                    "window": "14d",
                }
            },
            changes={"stop": {"status": "stopped"}},
            codes=CHECK_CODES,
            conflicts=("name_taken", "key_taken"),
            id=Parameter(name="id", about="The definition's id.", required=True, example="9f3c2a1b7d4e"),
        ),
    )
