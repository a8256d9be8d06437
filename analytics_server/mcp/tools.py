"""The tools: which endpoint answers each, what it takes, and what its numbers mean.

A tool asks its endpoint within the request, with the caller's own rights and the endpoint's limits and audit entry, so
that it answers what the endpoint would. `reproduce` of its answer is that very call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from analytics_server.mcp.arguments import (
    DescribeArguments,
    ExperimentArguments,
    SiteArguments,
    SitesArguments,
    TrendsArguments,
)
from analytics_server.mcp.messages import Json
from analytics_server.query.metrics import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of an endpoint: the variable parts of its path, its query string and its body (None: none)."""

    named: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None

    def shown(self, method: str, path: str) -> Json:
        """What reproduces it over HTTP."""
        for name, value in self.named.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        address = path + (f"?{urlencode(self.query)}" if self.query else "")
        return {"method": method, "path": address} | ({} if self.body is None else {"body": self.body})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool over the endpoint of that name.

    `arguments`: the type that they are decoded to, None for the endpoint's body. `ask` makes a call of them, as they
    were sent and as they were decoded; without it they are the body. `define`: what the numbers mean, by the
    arguments. `changes`: it needs the scope `provision`.
    """

    name: str
    endpoint: str
    title: str
    about: str
    arguments: type[msgspec.Struct] | None = None
    ask: Callable[[Json, Any], ToolCall] = lambda sent, read: ToolCall(body=sent)
    define: Callable[[Json], Mapping[str, str]] = lambda sent: {}
    notes: Mapping[str, str] = field(default_factory=dict)
    changes: bool = False


def metric_definitions(sent: Json) -> Mapping[str, str]:
    """What the metrics that were asked for mean; a query without any asks for visitors."""
    asked = sent.get("metrics") or ["visitors"]
    return {name: metric.about for metric in METRICS for name in (metric.name, *metric.aliases) if name in asked}


def _always(**texts: str) -> Callable[[Json], Mapping[str, str]]:
    return lambda sent: texts


def _of_trends(sent: Json, read: TrendsArguments) -> ToolCall:
    query = {
        "site_id": read.site_id,
        "metrics": ",".join(read.metrics),
        "interval": read.interval,
        "from": read.from_,
        "to": read.to,
        "date_range": read.date_range,
        "breakdown": read.breakdown,
        "filters": msgspec.json.encode(read.filters).decode() if read.filters else "",
        "limit": str(read.limit) if read.limit is not None else "",
    }
    return ToolCall(query={name: value for name, value in query.items() if value})


def _of_experiment(sent: Json, read: ExperimentArguments) -> ToolCall:
    return ToolCall(
        named={"id": read.experiment}, body={name: value for name, value in sent.items() if name != "experiment"}
    )


def _of_site(sent: Json, read: SiteArguments) -> ToolCall:
    return ToolCall(query={"site_id": read.site_id} if read.site_id else {})


READING_TOOLS: tuple[Tool, ...] = (
    Tool(
        name="list_sites",
        endpoint="list_sites",
        title="List sites",
        about="The sites that can be asked about, by id, with their time zones and settings. Call it first. Where cut"
        " says that there are more sites, contains and offset find them.",
        arguments=SitesArguments,
        ask=lambda sent, read: ToolCall(),
    ),
    Tool(
        name="describe",
        endpoint="get_schema",
        title="Describe fields and metrics",
        about="All metrics and dimensions of query and trends with their definitions, and the columns of SQL's tables.",
        arguments=DescribeArguments,
        ask=_of_site,
    ),
    Tool(
        name="query",
        endpoint="query",
        title="Query",
        about="One question, one table: metrics of a range by dimensions, with filters, order, comparison, pages.",
        define=metric_definitions,
        notes={"exact": "Count distinct things exactly, however many there are."},
    ),
    Tool(
        name="trends",
        endpoint="trends",
        title="Trends",
        about="How metrics go over time: a row for each minute, hour, day, week or month, empty ones included.",
        arguments=TrendsArguments,
        ask=_of_trends,
        define=metric_definitions,
    ),
    Tool(
        name="funnel",
        endpoint="funnel",
        title="Funnel",
        about="How many take one step after the other, and where they drop out; spelled out, or a saved funnel.",
        notes={
            "steps": 'Events in turn: {"name":"signup"}, {"goal":"…"}, {"filters":[["is","event:page",["/pricing"]]]}.',
            "window": "How long all of it may take from step 1 on, such as 7d or 30m.",
            "by": "Who takes the steps: session, visitor (within a day) or user.",
            "funnel": "Id or name of a saved funnel, in place of steps.",
        },
        define=_always(
            count="Sessions, visitors or users (by) that reached the step: their best attempt from a step 1 in the"
            " range, each later step after the one before, not more than window after step 1.",
            conversion="count in per cent of those who reached step 1.",
            step_conversion="count in per cent of those who reached the step before.",
            dropped="Those who reached the step before and not this one.",
            median_seconds="Median time from step 1 to this step, along the best attempt.",
            step_median_seconds="Median time from the step before to this one.",
        ),
    ),
    Tool(
        name="cohorts",
        endpoint="cohorts",
        title="Cohorts and retention",
        about="Who came for the first time when, and how many of them came back in the periods after.",
        notes={"periods": "How many periods of each cohort.", "by": "user can be followed over days; others can't."},
        define=_always(
            size="Those whose first event ever kept (that matches first) lies in the cohort's calendar period.",
            returned="By period after the first: how many of them have an event (that matches returning) in it.",
            complete="Whether that period is over; one that is not will still grow.",
            retention="returned as a share of size, over all cohorts for which the period is over.",
        ),
    ),
    Tool(
        name="paths",
        endpoint="paths",
        title="Paths",
        about="Which way sessions take through pages or events: forward from a start, or backward from an end.",
        notes={
            "start": "A page's path, or an event's name, that paths begin with.",
            "end": "One that paths end with; not together with start.",
        },
        define=_always(
            sessions="Sessions that have such a path.",
            count="Of a node: sessions that are there at that step, repeats of one page collapsed. Of a link: sessions"
            " that went from source to target. (other) groups what is beyond limit.",
        ),
    ),
    Tool(
        name="experiment_results",
        endpoint="experiment_results",
        title="Experiment results",
        about="What came of an A/B test, per variant and goal, with how sure that is.",
        arguments=ExperimentArguments,
        ask=_of_experiment,
        define=_always(
            exposures="Subjects (the user where one is known, else the session) whose first exposure is to the"
            " variant. Those seen in two variants are left out and counted as excluded.",
            conversions="Exposed subjects with an event of the goal after the exposure, within the window.",
            rate="conversions / exposures, with its Wilson 95 % interval.",
            lift="The rate compared with the control's.",
            p_value="Two-sided two-proportion z-test against the control.",
            probability_to_be_best="Probability to have the highest rate: Beta(1,1) posterior.",
            expected_loss="What choosing the variant costs on average, if it is not the best.",
            sample_ratio="Whether subjects were divided as the weights say (chi-square; a mismatch is p < 0.001): with"
            " one, results can't be trusted.",
        ),
    ),
    Tool(
        name="live",
        endpoint="watch_live",
        title="Live",
        about="Who is there now: visitors, page views by minute, pages, sources, countries and latest events.",
        arguments=SiteArguments,
        ask=_of_site,
        define=_always(
            visitors="Distinct visitors with an event in the last five minutes.",
            pageviews_per_minute="Page views of each of the last 30 minutes, the running one last.",
        ),
    ),
    Tool(
        name="sql",
        endpoint="sql",
        title="SQL",
        about="A SELECT in ClickHouse's dialect over the tables events and sessions, of the site's rows only, for what"
        " no other tool answers. describe names the columns. Put values into params: {name:String} in the text.",
        define=_always(
            visitors="Count visitors as uniqIf((toDate(ts, 'ZONE'), visitor_id), passive = 0) over events, in the"
            " site's time zone: a visitor_id lives one day.",
            rows="Whatever the statement says. meta.truncated: rows were cut off.",
        ),
    ),
)

CHANGING_TOOLS: tuple[Tool, ...] = (
    Tool(
        name="create_site",
        endpoint="create_site",
        title="Create a site",
        about="Create a site. Needs a token of all sites.",
        changes=True,
    ),
    Tool(
        name="create_goal",
        endpoint="create_goal",
        title="Create a goal",
        about="Save a goal of a site, which conversions are then counted by.",
        changes=True,
    ),
    Tool(
        name="create_annotation",
        endpoint="create_annotation",
        title="Create an annotation",
        about="Note on a site's charts what happened when.",
        changes=True,
    ),
    Tool(
        name="get_script_tag",
        endpoint="get_site",
        title="Get the script tag",
        about="The HTML to put into a site's pages, so that their views are counted.",
        arguments=SiteArguments,
        ask=lambda sent, read: ToolCall(named={"site_id": read.site_id}),
        changes=True,
    ),
)
