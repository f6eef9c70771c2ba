"""Values in env files: what is written bare, quoted or refused, and what lint says."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.domain.envfile import problems, quote
from bootstrap.domain.errors import TargetError

MARK = "S3cretMark"


def test_a_generated_key_is_written_bare() -> None:
    assert quote("sk-test-AZaz09_-") == "sk-test-AZaz09_-"


def test_an_empty_value_is_two_quotes() -> None:
    assert quote("") == "''"


@pytest.mark.parametrize(
    "text",
    ["two words", "a#b", "$HOME", "a;b", '"', "`id`", "$(id)", "~/x", "=ls", "-x", r"a\b", "a{b}"],
)
def test_a_text_with_special_characters_is_single_quoted(text: str) -> None:
    assert quote(text) == f"'{text}'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("it's", "a single quote"),
        ("a${HOME}b", "'${'"),
        ("line\nbreak", "control character"),
        ("tab\there", "control character"),
        ("nul\0here", "control character"),
        ("backslash at the end\\", "backslash"),
        ("two \\\\ backslashes", "backslash"),
        ("schlüssel", "outside ASCII"),
        ("line\u2028separator", "outside ASCII"),
        ("\udcff", "outside ASCII"),
    ],
)
def test_a_text_that_readers_take_differently_is_refused_with_the_reason(
    text: str, problem: str
) -> None:
    with pytest.raises(TargetError) as caught:
        quote(text, name="REDIS_PASSWORD")
    assert "REDIS_PASSWORD cannot be written to an env file" in caught.value.what
    assert problem in caught.value.why
    assert caught.value.fix


@settings(deadline=None, database=None)
@given(st.text(), st.text())
def test_a_refusal_never_quotes_the_value(before: str, after: str) -> None:
    with pytest.raises(TargetError) as caught:
        quote(f"{before}{MARK}'{after}")
    error = caught.value
    assert MARK not in f"{error!r} {error.what} {error.why} {error.fix}"


@settings(deadline=None, database=None)
@given(st.text(alphabet=string.printable))
def test_whatever_is_written_lints_clean(text: str) -> None:
    try:
        line = f"NAME={quote(text)}\n"
    except TargetError:
        return
    assert problems(line) == []


def test_a_file_that_all_readers_take_alike_has_no_problems() -> None:
    assert (
        problems("# comment\n\nA=1\nB='two words'\nC=\"three words here\"\nD=\nE=a!b*c:d\n") == []
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffA=1\n", "line 1: begins with a byte order mark"),
        ("A=1\r\nB=2\r\n", "line 1: ends in CR LF"),
        ("A=1\nexport B=2\n", "line 2: begins with 'export'"),
        ("A=1\n\nA=2\n", "line 3: A is set again (first on line 1)"),
        ("A=1\nexport A=2\n", "line 2: A is set again (first on line 1)"),
        ("A=1\nB='open\n", "line 2: has a quote that does not end"),
        ("A='\n", "line 1: has a quote that does not end"),
        ("A='x' # why\n", "line 1: has a quote that does not end"),
        ("A\n", "line 1: has no '='"),
        ("A-B=1\n", "line 1: has a name of other characters"),
        ("A = 1\n", "line 1: has a name of other characters"),
        ("A= 1\n", "line 1: has spaces around"),
        ("A=1 \n", "line 1: has spaces around"),
        ("A=two words\n", "line 1: needs quotes"),
        ("A=a#b\n", "line 1: needs quotes"),
        ("A==ls\n", "line 1: needs quotes"),
        ("A=a$B\n", "line 1: needs quotes"),
        ("A=~/x\n", "line 1: needs quotes"),
        ("A='a${B}'\n", "line 1: is quoted and holds"),
        ('A="a$B"\n', "line 1: is quoted and holds"),
        (" # indented\n", "line 1: is a comment to some readers only"),
        (";c\n", "line 1: is a comment to some readers only"),
    ],
)
def test_lint_names_the_line_and_the_problem(text: str, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(text)), problems(text)


def test_crlf_is_reported_once() -> None:
    assert len(problems("A=1\r\nB=2\r\nC=3\r\n")) == 1


@settings(deadline=None, database=None)
@given(st.text(alphabet="=\n\r '\"#;$\\export\ufeff"))
def test_lint_never_shows_a_value(noise: str) -> None:
    for text in (f"{noise}A={noise}{MARK}{noise}", f"A={MARK}\nA={noise}{MARK}\n", MARK):
        assert MARK not in "\n".join(problems(text))
