import pytest

from actionrec.core.text import is_printable, printable, printable_lines, quoted, shortened

HIDDEN = {
    "escape": "\x1b",
    "delete": "\x7f",
    "C1 control sequence introducer": "\x9b",
    "carriage return": "\r",
    "right-to-left override": "\u202e",
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "line separator": "\u2028",
    "combining grapheme joiner": "\u034f",
    "Hangul filler": "\u3164",
    "variation selector": "\ufe0f",
    "supplementary variation selector": "\U000e0101",
    "tag letter": "\U000e0041",
    "empty Braille pattern": "\u2800",
    "half of a surrogate pair": "\udcff",
}


@pytest.mark.parametrize("sign", HIDDEN.values(), ids=HIDDEN)
def test_an_invisible_character_becomes_its_escape(sign):
    assert not is_printable(sign)
    assert printable(f"Dive{sign}s") == f"Dive{ascii(sign)[1:-1]}s"


@pytest.mark.parametrize("text", ["PlayingDhol-2_(b)", "Tauchen für Anfänger", "動作", "غوص", "e\u0301", "🤸", "a\u3000b"])
def test_names_in_any_script_stay_as_they_are(text):
    assert printable(text) == text


def test_text_of_several_lines_keeps_its_line_feeds_and_tabs():
    assert printable_lines("a\n\tb\x1b[2J\r") == "a\n\tb\\x1b[2J\\r"


def test_long_names_are_cut():
    assert shortened("x" * 80) == "x" * 80
    assert shortened("x" * 1_000_000) == "x" * 80 + "..."


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value] * 9
    return value


AWKWARD = {
    "wide and deep": nested(30),
    "deep": nested(5_000),
    "5,000 digits": 10**5_000,
    "10 million characters": "a" * 10_000_000,
    "a million numbers": {"k": list(range(10**6))},
    "control characters": ["\x1b", "\u202e"],
}


@pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD)
def test_a_value_is_quoted_in_one_short_line_whatever_it_is(value):
    text = quoted(value)
    assert len(text) < 200
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("value", [None, 4.0, "four", [1, True], {"a": 1}])
def test_a_short_value_is_quoted_as_python_writes_it(value):
    assert quoted(value) == repr(value)
