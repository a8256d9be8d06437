"""The error tree: every error has a code, a status and a level that fit together."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from analytics_server import errors
from analytics_server.errors import AnalyticsError, RequestError, StoreError


def tree(kind: type[AnalyticsError]) -> Iterator[type[AnalyticsError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


ALL = list(tree(AnalyticsError))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_codes_statuses_and_levels_fit_together(kind: type[AnalyticsError]) -> None:
    error = kind("What failed, and how to mend it.")

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert str(error) == error.message
    assert 400 <= error.status <= 599
    if issubclass(kind, RequestError):
        assert error.status < 500
        assert error.log_level <= logging.INFO  # what a client does is not the operator's problem
    if error.status in (429, 503):
        assert error.retry_after_s


def test_a_code_can_be_more_exact() -> None:
    assert RequestError("x", code="bad_body").code == "bad_body"
    assert StoreError("x", engine_code=252).engine_code == 252
    assert RequestError("x").code == "bad_request"


def test_every_error_in_the_module_belongs_to_the_tree() -> None:
    kinds = {found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, Exception)}

    assert kinds == set(ALL)
