"""Each name users can type or meet is documented: drop reasons, metrics, dimensions, commands, routes."""

from __future__ import annotations

import re

import click

from analytics_server.cli.main import cli
from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.collect.formats.warnings import WarningCode
from analytics_server.collect.rejections import RejectionCode
from analytics_server.query.dimensions import DIMENSIONS
from analytics_server.query.metrics import METRICS
from tests.docs.pages import ROOT, all_documentation, is_current
from tests.whole import route_paths


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_beacons_page_lists_the_drop_reasons() -> None:
    rows = [f"| `{reason.value}` | {reason.about} | {reason.example} |" for reason in DropReason]
    text = "\n".join(["| reason | when | for example |", "|---|---|---|", *rows])
    assert is_current("beacons.md", "drop-reasons", text), "run `make golden`"


def test_drops_page_lists_reasons_and_codes_with_their_remedies() -> None:
    for block, reasons in (("drop-remedies", DropReason), ("rejection-remedies", RejectionCode)):
        rows = [f"| `{reason.value}` | {reason.about} | {reason.remedy} |" for reason in reasons]
        text = "\n".join(["| reason | what it is | what to do |", "|---|---|---|", *rows])
        assert is_current("drops.md", block, text), "run `make golden`"


def test_beacons_page_lists_the_kinds_of_bots_with_examples() -> None:
    examples = {kind: ", ".join(f"`{repr(example)[1:-1]}`" for example in kind.examples) for kind in BotReason}
    rows = [f"| `{kind.value}` | {kind.about} | {examples[kind]} |" for kind in BotReason]
    text = "\n".join(["| kind of bot | what it is | for example |", "|---|---|---|", *rows])
    assert is_current("beacons.md", "bot-reasons", text), "run `make golden`"


def test_beacons_page_lists_the_warning_codes() -> None:
    rows = [f"| `{code.value}` | {code.about} |" for code in WarningCode]
    text = "\n".join(["| code | what became of the field |", "|---|---|", *rows])
    assert is_current("beacons.md", "warning-codes", text), "run `make golden`"


def test_beacons_page_lists_the_rejection_codes() -> None:
    text = page("beacons.md")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "analytics_server" / "collect").rglob("*.py")]
    literal = re.compile(r'(?:Reject\(\s*|Rejection\(\s*\w+,|code=)\s*"([a-z_]+)"')
    codes = {code for source in sources for code in literal.findall(source)}
    assert {"bad_url", "bad_kind", "bad_json", "unknown_site"} <= codes, "the pattern no longer finds the codes"
    missing = sorted(code for code in codes if f"`{code}`" not in text)
    assert not missing, f"docs/beacons.md leaves out: {missing}"


NAMED = r"\b(?:option|on)\((?:IS_SCRIPT \? )?'(\w+)'"
"""An option that is read; the package has another name for some."""


def test_tracker_page_lists_the_options() -> None:
    text = page("tracker.md")
    folder = ROOT / "web" / "client" / "src"
    parts = ("core", "features", "script")
    source = "".join(
        path.read_text(encoding="utf-8") for part in parts for path in sorted((folder / part).glob("*.ts"))
    )
    source = re.sub(r"!IS_SCRIPT && on\('\w+'\)", "", source)  # of the package alone
    options = {*re.findall(r"(?<!/)\boptions\.(\w+)", source), *re.findall(NAMED, source)}
    assert {"site", "outbound", "hash"} <= options, "the pattern no longer finds the options"
    # `optOut` is how a script reads `data-opt-out`.
    options = {re.sub(r"[A-Z]", lambda letter: f"-{letter[0].lower()}", option) for option in options}
    missing = sorted(option for option in options if f"`data-{option}`" not in text)
    assert not missing, f"docs/tracker.md leaves out: {missing}"


def test_metrics_page_names_every_metric_and_alias() -> None:
    text = page("metrics.md")
    for metric in METRICS:
        for name in (metric.name, *metric.aliases):
            assert f"`{name}`" in text, f"docs/metrics.md does not document the metric {name}"


def test_metrics_page_names_every_dimension() -> None:
    text = page("metrics.md")
    for dimension in DIMENSIONS:
        # A family is documented by its name and a star or key: `event:props:*`.
        documented = rf"`{re.escape(dimension.name)}" + (r"[^`]*`" if dimension.family else "`")
        assert re.search(documented, text), f"docs/metrics.md does not document the dimension {dimension.name}"


def test_cli_page_documents_every_command_and_option() -> None:
    text = page("cli.md")
    assert isinstance(cli, click.Group)
    undocumented = []

    def walk(command: click.Command, name: str) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for part in command.list_commands(context):
                inner = command.get_command(context, part)
                assert inner is not None, part
                walk(inner, f"{name} {part}".strip())
            return
        undocumented.extend([name] if f"`analytics-server {name}" not in text else [])
        for parameter in command.params:
            option = next((flag for flag in parameter.opts if flag.startswith("--")), "")
            undocumented.extend([f"{name} {option}"] if option and f"`{option}" not in text else [])

    walk(cli, "")
    assert not undocumented, f"docs/cli.md leaves out: {undocumented}"


def test_every_route_is_documented() -> None:
    text = all_documentation()
    # Below these two are pages and their files, no interface: the roots must be documented.
    public = {re.sub(r"^(/demo|/dashboard)/.*", r"\1", path) for path in route_paths()}
    assert {"/demo", "/dashboard", "/track", "/api/v1/query"} <= public
    missing = sorted(path for path in public if not re.search(re.escape(path) + r"(?![\w/{-])", text))
    assert not missing, f"no page names these routes: {missing}"
