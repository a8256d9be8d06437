"""The log: one line an entry, whatever is in it, and nothing that identifies a person."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.log import ws_logger
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.config import LogSection
from analytics_server.logs import JsonFormatter, TextFormatter, set_up


@pytest.fixture
def restored() -> Iterator[None]:
    """The process's logging as it was before."""
    names = ("", "aiohttp.server", "aiohttp.websocket", "analytics_server", "urllib3", "clickhouse_connect")
    before = [(name, logging.getLogger(name).level, list(logging.getLogger(name).filters)) for name in names]
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = handlers
    for name, level, filters in before:
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).filters[:] = filters


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("analytics_server.app", logging.INFO, "", 0, message, None, None)
    made.__dict__.update(fields)
    return made


@given(message=st.text(), value=st.text())
def test_an_entry_is_one_line_in_either_form(message: str, value: str) -> None:
    entry = record(message.replace("%", ""), reason=value)

    as_json, as_text = JsonFormatter().format(entry), TextFormatter().format(entry)

    assert len(as_json.splitlines()) == len(as_text.splitlines()) == 1
    assert as_json.isascii()
    assert json.loads(as_json)["reason"] == value
    assert as_text.isprintable() or as_text.replace(" ", "").isprintable()


def test_json_entries_name_time_level_logger_and_fields() -> None:
    entry = json.loads(JsonFormatter().format(record("started", seconds=1.5, path=object)))

    assert entry["time"].endswith("+00:00")
    assert (entry["level"], entry["logger"], entry["message"], entry["seconds"]) == ("info", "app", "started", 1.5)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_stack_trace_keeps_quiet_about_what_the_exceptions_say(formatter: logging.Formatter) -> None:
    address = "203.0.113." + "7"
    try:
        try:
            raise ValueError(f"{address} sent it")
        except ValueError as error:
            raise RuntimeError(f"while handling {address}") from error
    except RuntimeError as error:
        entry = record("request crashed")
        entry.exc_info = (type(error), error, error.__traceback__)
        shown = formatter.format(entry)

    assert address not in shown
    assert shown.index("ValueError") < shown.index("RuntimeError")
    assert "test_logs.py" in shown


@pytest.mark.usefixtures("restored")
def test_a_request_that_is_no_http_is_not_logged_and_a_crash_without_its_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSection())
    server = logging.getLogger("aiohttp.server")
    for failure in (BadHttpMessage("Content-Length: x"), ConnectionResetError("gone"), KeyError("user")):
        server.error("Error handling request from %s", "203.0.113.7", exc_info=failure)
    logging.getLogger("urllib3.connectionpool").warning("GET /?token=secret")
    ws_logger.warning("%s: Client protocols %r don't overlap", "203.0.113.7", ["secret"])

    written = capsys.readouterr().err
    assert written.count("request crashed") == 1
    assert "KeyError" in written
    assert "203.0.113.7" not in written
    assert "secret" not in written


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_configured_one(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    set_up(LogSection(level=level, format="json"))  # type: ignore[arg-type]
    log = logging.getLogger("analytics_server.app")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "said")
    logging.getLogger("other").info("not ours")

    assert len(capsys.readouterr().err.splitlines()) == lines
