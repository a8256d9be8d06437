"""Upper and lower case as filters ignore them: one rule for equality, for parts of a text and for wildcards.

Two texts are one without case if Unicode's full case folding makes canonically equivalent texts of them (The Unicode
Standard, D145): Σ, σ and ς are one, ß, ẞ, ss and SS, and é in one character or in two; é and e are two. Besides, as
the language of a text is unknown, I, i, İ and ı are one: which of them is whose capital depends on it.

RE2, by which ClickHouse matches, folds one character to one, and the engine in process is built without functions of
Unicode. So a pattern spells out what folds to the same; left out are only equivalents that no keyboard makes, such as
a cedilla typed behind two dots, and more than `MOST_JOINED` letters in a row that may each be part of a ligature. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import chain, permutations

MOST_JOINED = 8
SHORT = 256
"""Longer texts are not remembered."""
MOST_PIECE = 4
"""So many characters one character folds to at most."""
MOST_MARKS = 3
"""Of a letter with more accents, only the order of the canonical form is looked for."""

RANGES = (
    range(0x41, 0x3100),
    range(0xA640, 0xAC00),
    range(0xF900, 0x10000),
    range(0x10400, 0x12000),
    range(0x16E00, 0x16F00),
    range(0x1D100, 0x1D200),
    range(0x1E900, 0x1E950),
)
"""Where characters lie that fold to something else, but for Korean syllables and rare forms of Chinese characters."""

_JOINING = re.compile("[sSſfF]")
_JOINED = re.compile("[ßẞﬀ-ﬆ]")
_DOT = "\u0307"
_DOTTED = re.compile(f"i{_DOT}+")
_SPECIAL = re.compile(r"[\\\]^-]")
_SYLLABLES = range(0xAC00, 0xD7A4)
_INITIALS = frozenset(map(chr, range(0x1100, 0x1113)))
"""Korean consonants, which make a syllable with what follows."""


def fold(text: str) -> str:
    """What texts have in common that are one without case."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return _DOTTED.sub("i", folded.replace("ı", "i"))


def pattern(text: str) -> str:
    """A regular expression (RE2) for every text that is the same without case."""
    return _remembered(text) if len(text) <= SHORT else _pattern(text)


def _pattern(text: str) -> str:
    found = "".join(map(_alternatives, _joined(fold(text))))
    return f"(?:{found}|{re.escape(text)})" if any(map(_is_rare, text)) else found


def _is_rare(char: str) -> bool:
    """Does it lie outside of `RANGES`, and fold to something else? Then a text must be told to fit itself."""
    known = any(ord(char) in one for one in (*RANGES, _SYLLABLES))
    return not known and ord(char) > RANGES[0].start and fold(char) != char


_remembered = lru_cache(1_024)(_pattern)
"""A question asks for the same several times, once for each table that it reads."""


def weight(text: str) -> int:
    """How long `pattern` may take and become: in characters, those that may be part of a ligature for several."""
    return len(text) + 3 * len(_JOINING.findall(text)) + 7 * len(_JOINED.findall(text))


@cache
def _written() -> Mapping[str, str]:
    """The characters that fold to a text, per text; but for those that stand for themselves only."""
    found: dict[str, str] = {}
    for char in map(chr, chain.from_iterable(RANGES)):
        folded = fold(char)
        if folded != char:
            found[folded] = found.get(folded, "") + char
    return found


@cache
def _beginnings() -> frozenset[str]:
    """The first two characters of every piece of several that one character folds to, but for Korean ones."""
    return frozenset(folded[:2] for folded in _written() if len(folded) > 1)


def _characters(piece: str) -> str:
    """The single characters that fold to a piece of a folded text."""
    found = (piece if len(piece) == 1 else "") + _written().get(piece, "")
    if piece[0] not in _INITIALS or len(composed := unicodedata.normalize("NFC", piece)) > 1:
        return found
    return found + composed if composed != piece else found


def _joined(folded: str) -> Iterator[str]:
    """A folded text cut where no character folds to what lies on both sides, and no accent stands behind."""
    beginnings = _beginnings()
    start = end = 0
    for at in range(len(folded)):
        if (at >= end and not unicodedata.combining(folded[at])) or at - start >= MOST_JOINED:
            if at > start:
                yield folded[start:at]
            start = at
        if folded[at : at + 2] in beginnings or folded[at] in _INITIALS:
            longest = (size for size in range(MOST_PIECE, 1, -1) if _characters(folded[at : at + size]))
            end = max(end, at + next(longest, 1))
    if folded:
        yield folded[start:]


def _alternatives(joined: str) -> str:
    """Every way to write a piece that may be one character or several."""
    if len(joined) == 1:
        return _one_of(joined)
    found = list(dict.fromkeys("".join(way) for order in _orders(joined) for way in _ways(order)))
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _orders(joined: str) -> Iterator[str]:
    """The same letter with its accents in every order that means the same."""
    yield joined
    marks = joined[1:]
    if 1 < len(marks) <= MOST_MARKS and all(map(unicodedata.combining, marks)):
        for other in permutations(marks):
            text = joined[0] + "".join(other)
            if text != joined and unicodedata.normalize("NFD", text) == joined:
                yield text


def _ways(text: str) -> Iterator[list[str]]:
    """The text as a row of pieces, each a class of characters, in every way."""
    if not text:
        yield []
    for size in range(1, min(len(text), MOST_PIECE) + 1):
        if size == 1 or _characters(text[:size]):
            for rest in _ways(text[size:]):
                yield [_one_of(text[:size]), *rest]


@lru_cache(4_096)
def _one_of(piece: str) -> str:
    """A class of the characters that fold to the piece."""
    characters = "".join(dict.fromkeys(_characters(piece)))
    found = re.escape(characters) if len(characters) == 1 else f"[{_SPECIAL.sub(_escaped, characters)}]"
    return f"{found}{_DOT}*" if piece == "i" else found


def _escaped(special: re.Match[str]) -> str:
    return f"\\{special[0]}"
