"""What the routes under `/api/v1/experiments` take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.analyses.experiments.answer import ResultsAnswer
from analytics_server.analyses.experiments.definition import (
    ExperimentAnswer,
    ExperimentChange,
    ExperimentRequest,
    ExperimentsAnswer,
)
from analytics_server.analyses.experiments.planning import PlanAnswer, PlanRequest
from analytics_server.analyses.experiments.results import ResultsRequest
from analytics_server.analyses.experiments.routes import PATH, SUBJECT_CHARS, Assignment
from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.operations import FILTER_CODES, NO_SITE, REQUEST_CODES, SITE

_ID = Parameter(name="id", about="The definition's id.", required=True, example="9f3c2a1b7d4e")
_ID_OR_KEY = Parameter(
    name="id", about="The definition's id, or the experiment's key or name.", required=True, example="cta"
)
_UNKNOWN = {404: ("unknown_experiment",)}
_CHECKS = (*REQUEST_CODES, *FILTER_CODES, "bad_experiment", "bad_step", "bad_window", "too_many")
_TAKEN = {409: ("name_taken", "key_taken")}
_DEFINITION = {
    "site_id": "example.com",
    "name": "Call to action",
    "key": "cta",
    "variants": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}],
    "goals": ["signup", {"name": "purchase", "filters": [["is", "event:props:plan", ["pro"]]]}],
    "window": "14d",
}


def operations() -> list[Operation]:
    """Definitions, results, planning, assignment."""
    return [*_definitions(), *_questions()]


def _definitions() -> list[Operation]:
    return [
        Operation(
            method="GET",
            path=PATH,
            name="list_experiments",
            summary="The experiments of a site",
            tag="experiments",
            role="read",
            parameters=(SITE,),
            replies=(Reply(about="By name.", type=ExperimentsAnswer),),
            errors={400: ("bad_request", "unknown_key"), **NO_SITE},
        ),
        Operation(
            method="POST",
            path=PATH,
            name="create_experiment",
            summary="Define an experiment",
            tag="experiments",
            role="admin",
            body=Body(types=(ExperimentRequest,), examples={"two variants": _DEFINITION}),
            replies=(Reply(status=201, about="The definition with its id.", type=ExperimentAnswer),),
            errors={400: _CHECKS, **NO_SITE, **_TAKEN},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="GET",
            path=f"{PATH}/{{id}}",
            name="show_experiment",
            summary="One definition",
            tag="experiments",
            role="read",
            parameters=(_ID,),
            replies=(Reply(about="The definition.", type=ExperimentAnswer),),
            errors=_UNKNOWN,
        ),
        Operation(
            method="PUT",
            path=f"{PATH}/{{id}}",
            name="change_experiment",
            summary="Change a definition",
            tag="experiments",
            about="What is left out stays as it is.",
            role="admin",
            parameters=(_ID,),
            body=Body(types=(ExperimentChange,), examples={"stop": {"status": "stopped"}}),
            replies=(Reply(about="The definition as it is now.", type=ExperimentAnswer),),
            errors={400: _CHECKS, 404: ("unknown_experiment", "unknown_site", "not_found"), **_TAKEN},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="DELETE",
            path=f"{PATH}/{{id}}",
            name="delete_experiment",
            summary="Delete a definition",
            tag="experiments",
            about="Its events stay.",
            role="admin",
            parameters=(_ID,),
            replies=(Reply(status=204, about="It is gone."),),
            errors=_UNKNOWN,
            asks_store=True,
            takes_turns=True,
        ),
    ]


def _questions() -> list[Operation]:
    subject = Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARS)]
    return [
        Operation(
            method="POST",
            path=f"{PATH}/plan",
            name="plan_experiment",
            summary="How many subjects it takes",
            tag="experiments",
            role="read",
            body=Body(
                types=(PlanRequest,),
                examples={"a tenth more": {"baseline": 0.04, "minimal_effect": 0.1, "daily_subjects": 2_000}},
            ),
            replies=(Reply(about="Subjects per variant and in all, and days.", type=PlanAnswer),),
            errors={400: ("bad_json", "bad_request", "unknown_key", "bad_effect")},
        ),
        Operation(
            method="POST",
            path=f"{PATH}/{{id}}/results",
            name="experiment_results",
            summary="What came of it",
            tag="experiments",
            role="read",
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
                400: (*_CHECKS, "no_goal", "site_needed"),
                404: ("unknown_experiment", "unknown_site"),
            },
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="GET",
            path=f"{PATH}/{{id}}/assign",
            name="assign_variant",
            summary="Which variant a subject is shown",
            tag="experiments",
            about="Public, from any page. The same answer for the same subject on every server.",
            parameters=(
                _ID_OR_KEY,
                Parameter(
                    name="subject", about="What the client knows it by.", type=subject, required=True, example="u-42"
                ),
                Parameter(
                    name="site_id",
                    about="Whose experiment; without it the asking page's site decides, else who had the key first.",
                    example="example.com",
                ),
            ),
            replies=(Reply(about="The variant, or null while nobody is taken in.", type=Assignment),),
            errors={400: ("bad_request", "bad_subject", "unknown_key"), **_UNKNOWN},
        ),
        Operation(
            method="OPTIONS",
            path=f"{PATH}/{{id}}/assign",
            name="assign_variant_preflight",
            summary="What browsers ask before they ask from another page",
            tag="experiments",
            parameters=(_ID_OR_KEY,),
            replies=(Reply(status=204, about="GET is allowed from anywhere."),),
        ),
    ]
