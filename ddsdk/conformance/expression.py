"""`-k EXPR` as pytest spells it: words, `and`, `or`, `not`, parentheses.

A word is looked for, whatever its case, in an item's id, case, family and title.  Unlike pytest's, a word that *is* a
family or an id means just that one: IO is not every title with "completion" in it, POLL-1 not POLL-10.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define, field

from ddsdk.errors import UsageError

from .check import FAMILIES
from .runner import Item

#: Whether an item is wanted.
Selector = Callable[[Item], bool]

_TOKEN: Final = re.compile(r"\s*(?:(?P<paren>[()])|(?P<word>[\w:.+\-\[\]/@]+))")
_END: Final = "the end"
_DEEP: Final = 100


def parse(text: str) -> Selector:
    """The selector that *text* spells, everything for none; UsageError names the column where it goes wrong."""
    if not text.strip():
        return lambda item: True
    parser = _Parser(text, _tokens(text))
    if sum(token in ("not", "(") for token, _ in parser.tokens) > _DEEP:
        raise UsageError(f"-k: more than {_DEEP} times not or (")
    selector = parser.alternatives()
    if parser.token != _END:
        raise parser.wrong("and, or, or the end")
    return selector


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise UsageError(f"-k {text!r}: column {at + 1}: {text[at]!r} has no meaning here; there are words, and,"
                             " or, not, ( and )")
        kind = match.lastgroup or ""
        tokens.append((match[kind], match.start(kind)))
        at = match.end()
    return [*tokens, (_END, len(text))]


@define
class _Parser:
    """Recursive descent; `not` binds closest, then `and`, then `or`."""

    text: str
    tokens: list[tuple[str, int]]
    at: int = field(default=0)

    @property
    def token(self) -> str:
        return self.tokens[self.at][0]

    def wrong(self, wanted: str) -> UsageError:
        column = self.tokens[self.at][1] + 1
        seen = self.token if self.token == _END else repr(self.token)
        return UsageError(f"-k {self.text!r}: column {column}: {seen} stands where {wanted} must be")

    def alternatives(self) -> Selector:
        terms = [self.conjunction()]
        while self.token == "or":
            self.at += 1
            terms.append(self.conjunction())
        return terms[0] if len(terms) == 1 else lambda item: any(term(item) for term in terms)

    def conjunction(self) -> Selector:
        terms = [self.term()]
        while self.token == "and":
            self.at += 1
            terms.append(self.term())
        return terms[0] if len(terms) == 1 else lambda item: all(term(item) for term in terms)

    def term(self) -> Selector:
        token = self.token
        if token in (_END, "and", "or", ")"):
            raise self.wrong("a word, not, or (")
        self.at += 1
        if token == "not":
            term = self.term()
            return lambda item: not term(item)
        if token == "(":
            inner = self.alternatives()
            if self.token != ")":
                raise self.wrong("and, or, or )")
            self.at += 1
            return inner
        return _word(token)


def _word(word: str) -> Selector:
    word = word.lower()
    families = {family.lower() for family in FAMILIES}
    if word in families:
        return lambda item: item.check.family.lower() == word
    family, _, rest = word.partition("-")
    if family in families and rest.isdigit():
        return lambda item: item.check.id.lower() == word
    if family in families and re.fullmatch(r"\d+\[.+\]", rest):
        return lambda item: item.id.lower() == word
    return lambda item: any(word in text.lower() for text in (item.id, item.check.family, item.check.title))
