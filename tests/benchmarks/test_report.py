"""What a benchmark says: targets, the table, the file; and what is sent."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest

from analytics_server.collect.formats.beacon import Beacon
from analytics_server.query.language.request import QueryRequest, check_request
from benchmarks import machine, wrk
from benchmarks.dashboard import View, details, opening, tabs
from benchmarks.report import Figure, Report, Result, at_least, below, exactly, now_text, save, table
from benchmarks.traffic import batches, templates


@pytest.mark.parametrize(
    ("target", "good", "bad"), [(at_least(0.6), 0.6, 0.59), (below(50), 49.9, 50.0), (exactly(0), 0.0, 1.0)]
)
def test_target_tells_met_from_missed(target: object, good: float, bad: float) -> None:
    figure = Figure(name="x", value=good, unit="", target=target)  # type: ignore[arg-type]
    assert figure.met is True
    assert msgspec.structs.replace(figure, value=bad).met is False


def test_table_names_missed_targets() -> None:
    shown = table([Result(benchmark="b", figures=[Figure(name="slow", value=400, unit="ms", target=below(300))])])
    assert "MISSED" in shown
    assert "400 ms" in shown


def test_report_is_kept_as_json_with_its_machine(tmp_path: Path) -> None:
    report = Report(at=now_text(), quick=True, machine=machine.describe(tmp_path), results=[])
    path = save(report, tmp_path)
    assert msgspec.json.decode(path.read_bytes(), type=Report) == report
    assert report.machine.cores > 0


def test_missing_load_generator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(wrk.WrkMissing, match="apt-get install wrk"):
        wrk.run_wrk("http://127.0.0.1:1", tmp_path / "none", run=1, seconds=1, connections=1)


def test_requests_are_beacons_with_a_place_for_a_fresh_id() -> None:
    made = templates(200)
    assert len(made) == 200
    for template in made:
        beacon = msgspec.json.decode(f"{uuid.uuid4()}".join(template.body), type=Beacon)
        assert beacon.url
        assert beacon.event_id
        assert "\t" not in "".join(template.body)
    assert len({template.user_agent for template in made}) > 20


@pytest.mark.parametrize("server_side", [True, False])
def test_batches_hold_as_many_fresh_events_as_asked(server_side: bool) -> None:
    beacons = [
        beacon
        for _, body in batches(3, 50, server_side=server_side)
        for beacon in msgspec.json.decode(body, type=list[Beacon])
    ]
    assert len(beacons) == 150
    assert len({beacon.event_id for beacon in beacons}) == 150
    assert all((beacon.ip is not None) is server_side for beacon in beacons)


def test_queries_are_valid_questions() -> None:
    view = View("bench.example", "30d", [["is", "visit:country", ["SE"]]])
    queries = opening(view) | tabs(view) | details(view)
    assert len(queries) > 20
    for query in queries.values():
        check_request(msgspec.convert(query, QueryRequest), max_rows=10_000)
