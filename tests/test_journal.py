"""The log says where something failed, never what a client sent."""

from __future__ import annotations

import json
import logging

import pytest

from analytics_server.journal import JsonFormatter, TextFormatter


def record(**fields: object) -> logging.LogRecord:
    made = logging.LogRecord("analytics_server.collect", logging.ERROR, "", 0, "request crashed", None, None)
    made.__dict__.update(fields)
    return made


def failure(sent: str) -> KeyError:
    with pytest.raises(KeyError) as raised:
        try:
            int(sent)
        except ValueError as error:
            raise KeyError(sent) from error
    return raised.value


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_an_exception_is_logged_with_its_places_but_without_its_message(formatter: logging.Formatter) -> None:
    sent = "203.0.113.7"
    error = failure(sent)
    line = formatter.format(record(exc_info=(type(error), error, error.__traceback__)))
    assert "ValueError" in line
    assert "KeyError" in line
    assert "test_journal.py" in line
    assert sent not in line


def test_what_the_system_says_is_kept() -> None:
    error = OSError(28, "No space left on device", "/data/wal/1.wal")
    assert "No space left on device" in TextFormatter().format(record(exc_info=(OSError, error, None)))


def test_nothing_a_client_sent_can_begin_a_new_line() -> None:
    assert "\n" not in TextFormatter().format(record(reason="a\r\nerror   forged"))
    assert json.loads(JsonFormatter().format(record(reason="a\nb")))["reason"] == "a\nb"
