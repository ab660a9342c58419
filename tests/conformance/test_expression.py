"""`-k`: pytest's grammar; words are looked for in ids, cases, families and titles."""

from __future__ import annotations

import pytest

from ddsdk.conformance.expression import parse
from ddsdk.conformance.runner import Item
from ddsdk.errors import UsageError

from .results import ERR_2, MEM_3, POLL_1, POLL_10, REG_1, REG_2, TIME_1

ITEMS = [Item(REG_1), Item(REG_2), Item(POLL_1), Item(POLL_10), Item(TIME_1), Item(MEM_3), Item(ERR_2, "a"),
         Item(ERR_2, "reply-lost", 1)]


@pytest.mark.parametrize(("text", "ids"), [
    ("", "all"), ("  ", "all"),
    ("REG", "REG-1 REG-2"), ("reg", "REG-1 REG-2"), ("POLL-1", "POLL-1"), ("poll-10", "POLL-10"),
    ("err-2[a]", "ERR-2[a]"), ("lost", "ERR-2[reply-lost]"), ("ERR-2", "ERR-2[a] ERR-2[reply-lost]"),
    ("comes", "REG-1"), ("MDELAY", "TIME-1"), ("polling", "POLL-1 POLL-10"), ("OL", "POLL-1 POLL-10"),
    ("REG or TIME", "REG-1 REG-2 TIME-1"), ("REG and disk", "REG-2"), ("REG and not disk", "REG-1"),
    ("not (REG or POLL or ERR)", "TIME-1 MEM-3"), ("not REG and not POLL and not ERR", "TIME-1 MEM-3"),
    ("REG-1 or REG and disk", "REG-1 REG-2"), ("(REG-1 or REG) and disk", "REG-2"), ("not not MEM", "MEM-3"),
    ("-2", "REG-2 ERR-2[a] ERR-2[reply-lost]"), ("nowhere", ""),
])
def test_what_it_matches(text: str, ids: str) -> None:
    """Words, not, and, or, parentheses, in pytest's order of binding."""
    wanted = parse(text)
    assert [item.id for item in ITEMS if wanted(item)] == ([i.id for i in ITEMS] if ids == "all" else ids.split())


def test_a_family_is_not_a_part_of_a_word() -> None:
    """TIME means the family, not every title with "sometimes" in it; MEM not "memory" in others."""
    wanted = parse("MEM or TIME")
    assert [item.id for item in ITEMS if wanted(item)] == ["TIME-1", "MEM-3"]


@pytest.mark.parametrize(("text", "message"), [
    ("and", "-k 'and': column 1: 'and' stands where a word, not, or ( must be"),
    ("REG and", "-k 'REG and': column 8: the end stands where a word, not, or ( must be"),
    ("REG POLL", "-k 'REG POLL': column 5: 'POLL' stands where and, or, or the end must be"),
    ("(REG", "-k '(REG': column 5: the end stands where and, or, or ) must be"),
    ("REG)", "-k 'REG)': column 4: ')' stands where and, or, or the end must be"),
    ("REG  & POLL", "-k 'REG  & POLL': column 6: '&' has no meaning here; there are words, and, or, not, ( and )"),
    ("(" * 5000, "-k: more than 100 times not or ("),
])
def test_what_it_refuses(text: str, message: str) -> None:
    """The column, what stands there, what may."""
    with pytest.raises(UsageError) as error:
        parse(text)
    assert str(error.value) == message
