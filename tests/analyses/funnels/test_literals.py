"""Whatever is saved comes back from the engine as the same text, and never as anything but a text."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.analyses.funnels.materialized.literals import Literals
from analytics_server.query.parameters import TEXT, TEXTS
from analytics_server.store.literals import literal as written
from tests.analyses.funnels.conftest import Place

quote = partial(written, plain=True)

NASTY = st.text(st.sampled_from("'\\\"`\0\n\r\t{}%$\x7f;--/*aé😀\u2028:String"), max_size=12) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(NASTY, min_size=1, max_size=8))
def test_quoted_texts_come_back(place: Place, texts: list[str]) -> None:
    columns = ", ".join(f"{quote(text)}, lower(hex({quote(text)}))" for text in texts)
    row = place.runner.run(place.store.query(f"SELECT {columns}")).rows[0]
    assert list(row[1::2]) == [text.encode().hex() for text in texts]
    assert list(row[::2]) == texts


@given(texts=st.lists(NASTY, min_size=1, max_size=8))
def test_a_literal_is_plain_ascii_without_a_quote_inside(texts: list[str]) -> None:
    for text in texts:
        literal = quote(text)
        assert literal.isascii()
        assert literal.isprintable()
        assert literal.count("'") == 2
        assert not set('{}%`"') & set(literal)


def test_what_looks_like_a_parameter_inside_a_text_stays_text() -> None:
    literals = Literals()
    assert literals.bind("{p_1:String}", TEXT) == quote("{p_1:String}")
    assert literals.bind(["a", "{p_0:String}"], TEXTS) == f"['a', {quote('{p_0:String}')}]"
    with pytest.raises(TypeError, match="can't be a parameter"):
        literals.name("site", "a", TEXT)


def test_a_lone_surrogate_has_no_literal() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        quote("\ud800")
