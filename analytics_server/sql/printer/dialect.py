"""ClickHouse's SQL as sqlglot reads it, with bounds, and without its translations.

sqlglot's own reader turns many functions into nodes of other databases' meaning and back,
which does not always come out the same. Here every call of a function stays a call with
its name; only syntax becomes nodes. Types keep their text, select items their place.
Reading ends early: texts have a greatest depth of brackets and number of steps (and length, see `tokens`).
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse
from sqlglot.errors import ParseError, TokenError
from sqlglot.parser import Parser
from sqlglot.parsers.clickhouse import ClickHouseParser
from sqlglot.tokenizer_core import Token, TokenType

from analytics_server.sql.function_names import PARTS, TRIMS
from analytics_server.sql.refusal import SqlRefused, place_of, shown

MAX_DEPTH = 24
"""How deep brackets may be nested."""

STEPS_PER_TOKEN = 60
STEPS = 2_000
FREE_STEPS, REST_STEPS, REST_S = 4_000, 500, 0.001
"""A long text is read with rests, so that the thread that reads it does not keep the interpreter from beacons."""

RAW = "raw"
SPAN = "span"
"""Keys of what a node remembers of the caller's text: a type's text; a select item's first and last character."""

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_BEHIND_A_NAME = {TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT}
_STARTS = {TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.L_PAREN}


class _TooManySteps(Exception):
    pass


class _Reader(ClickHouseParser):
    """Leaves functions alone, and stops after a number of steps that grows with the text."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        "CAST": ClickHouseParser.FUNCTION_PARSERS["CAST"],
        "EXTRACT": lambda self: self._extract(),
        "TRIM": lambda self: self._trim(),
        "SUBSTRING": lambda self: self._substring(),
    }
    NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CASE": ClickHouseParser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
    COLUMN_OPERATORS: ClassVar[dict[Any, Any]] = {
        operator: reader
        for operator, reader in ClickHouseParser.COLUMN_OPERATORS.items()
        if operator in (TokenType.DOT, TokenType.DCOLON)
    }
    QUERY_MODIFIER_PARSERS: ClassVar[dict[Any, Any]] = {
        **ClickHouseParser.QUERY_MODIFIER_PARSERS,
        TokenType.LIMIT: lambda self: self._limit(),
    }

    _steps = 0

    def _advance(self, times: int = 1) -> None:
        self._steps += 1
        if self._steps > FREE_STEPS and not self._steps % REST_STEPS:
            time.sleep(REST_S)
        if self._steps > STEPS + STEPS_PER_TOKEN * len(self._tokens):
            raise _TooManySteps
        super()._advance(times)

    def _warn_unsupported(self) -> None:
        """sqlglot would put the caller's text into the log."""

    def _limit(self) -> tuple[str, exp.Expr | None]:
        """`LIMIT n BY …` is a clause of its own, beside the LIMIT of the whole."""
        limit = self._parse_limit()
        return ("limit_by" if limit is not None and limit.expressions else "limit"), limit

    def _parse_types(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        first = self._index
        kind = super()._parse_types(*args, **kwargs)
        if isinstance(kind, exp.DataType) and self._index > first:
            kind.meta[RAW] = self.sql[self._tokens[first].start : self._tokens[self._index - 1].end + 1]
            kind.update_positions(self._tokens[first])
        return kind

    def _parse_expression(self) -> exp.Expr | None:
        first = self._index
        expression = Parser._parse_expression(self)
        while expression is not None and self._match_pair(TokenType.APPLY, TokenType.L_PAREN):
            expression = exp.Apply(this=expression, expression=self._parse_lambda())
            self._match_r_paren(expression)
        if expression is not None and self._index > first:
            expression.meta[SPAN] = (self._tokens[first].start, self._tokens[self._index - 1].end + 1)
        return expression

    def _call(self, name: str, arguments: list[exp.Expr], start: Token) -> exp.Expr:
        return self.expression(exp.Anonymous(this=name, expressions=arguments)).update_positions(start)

    def _extract(self) -> exp.Expr:
        """`EXTRACT(HOUR FROM ts)`; with a comma it is the function of that name."""
        start = self._tokens[self._index - 2]
        if self._next.token_type == TokenType.FROM:
            part = PARTS.get(self._curr.text.upper())
            if part is None:
                self.raise_error(f"EXTRACT takes {', '.join(PARTS)}", self._curr)
            self._advance(2)
            return self._call(str(part), [self._required(self._parse_bitwise())], start)
        return self._call("extract", self._parse_csv(self._parse_lambda), start)

    def _trim(self) -> exp.Expr:
        """`TRIM(BOTH 'x' FROM text)`; without these words it is the function of that name."""
        start = self._tokens[self._index - 2]
        word = self._curr.text.upper()
        if word in TRIMS and self._next.token_type not in _BEHIND_A_NAME:
            self._advance()
            characters = None if self._match(TokenType.FROM) else self._required(self._parse_bitwise())
            if characters is not None and not self._match(TokenType.FROM):
                self.raise_error("TRIM needs FROM", self._curr)
            text = self._required(self._parse_bitwise())
            return self._call(TRIMS[word], [text, *([characters] if characters is not None else [])], start)
        return self._call("trim", self._parse_csv(self._parse_lambda), start)

    def _substring(self) -> exp.Expr:
        """`SUBSTRING(text FROM 2 FOR 3)`, or with commas."""
        start = self._tokens[self._index - 2]
        arguments = self._parse_csv(self._parse_lambda)
        for token_type in (TokenType.FROM, TokenType.FOR):
            if len(arguments) < 3 and self._match(token_type):
                arguments.append(self._required(self._parse_bitwise()))
        return self._call("substring", arguments, start)

    def _required(self, expression: exp.Expr | None) -> exp.Expr:
        if expression is None:
            self.raise_error("An expression is expected", self._curr)
        return expression or exp.Null()

    def _parse_function(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        called = Parser._parse_function(self, *args, **kwargs)
        if not isinstance(called, exp.Anonymous) or not self._match(TokenType.L_PAREN):
            return called
        parameters = called.expressions
        arguments = self._parse_csv(self._parse_lambda)
        self._match_r_paren(called)
        parametric = exp.ParameterizedAgg(this=called.this, expressions=parameters, params=arguments)
        parametric.meta.update(called.meta)
        return self._parse_window(parametric)


class _Dialect(ClickHouse):
    """ClickHouse, with array places as they are written and UNION meaning UNION DISTINCT."""

    INDEX_OFFSET = 0
    SET_OP_DISTINCT_BY_DEFAULT = {exp.Union: True, exp.Except: False, exp.Intersect: False}  # noqa: RUF012
    Parser = _Reader


def parse(text: str) -> exp.Query:
    """Read one SELECT. Raises `SqlRefused`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SqlRefused(
            "Half a surrogate pair is no character.", code="bad_sql", place=place_of(text, error.start)
        ) from None
    dialect = _Dialect()
    try:
        tokens = dialect.tokenize(text)
    except (TokenError, ValueError, IndexError):
        raise SqlRefused("A quote, a comment or a character can't be read: is it closed?", code="bad_sql") from None
    tokens = _single(text, tokens)
    _check_depth(text, tokens)
    try:
        trees = dialect.parser().parse(tokens, text)
    except ParseError as error:
        raise _syntax_error(text, error) from None
    except (_TooManySteps, RecursionError):
        raise SqlRefused("The query is nested too deeply.", code="sql_too_big") from None
    except (TokenError, ValueError, TypeError, AttributeError, IndexError, KeyError):  # slips of the parser's own
        raise SqlRefused("The query can't be read.", code="bad_sql") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        raise SqlRefused("One SELECT is expected.", code="bad_sql")
    return tree


def _single(text: str, tokens: list[Token]) -> list[Token]:
    """The tokens of the one statement, without semicolons behind it."""
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens = tokens[:-1]
    if not tokens:
        raise SqlRefused("The query is empty: write a SELECT.", code="bad_sql")
    second = next((token for token in tokens if token.token_type is TokenType.SEMICOLON), None)
    if second is not None:
        raise SqlRefused("Only one statement can be run at a time.", place=place_of(text, second.start))
    first = tokens[0]
    if first.token_type not in _STARTS:
        raise SqlRefused(f"Only SELECT can be run here, not {shown(first.text)}.", place=place_of(text, first.start))
    return tokens


def _check_depth(text: str, tokens: list[Token]) -> None:
    depth = 0
    for token in tokens:
        if token.token_type in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise SqlRefused(
                    f"Brackets may be nested {MAX_DEPTH} deep at most.",
                    code="sql_too_big",
                    place=place_of(text, token.start),
                )
        elif token.token_type in _CLOSING:
            depth -= 1


def _syntax_error(text: str, error: ParseError) -> SqlRefused:
    first = error.errors[0] if error.errors else {}
    near = str(first.get("highlight") or "")
    line, column = first.get("line"), first.get("col")
    place = None
    if isinstance(line, int) and isinstance(column, int):
        place = _place_of_token(text, line, column, near)
    what = f"The query can't be read near {shown(near)!r}." if near else "The query ends too early."
    return SqlRefused(what, code="bad_sql", place=place)


def _place_of_token(text: str, line: int, column: int, near: str) -> Any:
    """sqlglot counts the column of a token's end."""
    lines = text.split("\n")
    start = sum(len(each) + 1 for each in lines[: line - 1]) + column - len(near)
    return place_of(text, min(max(start, 0), len(text)))
