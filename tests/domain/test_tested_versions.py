"""The LiteLLM versions that count as tested are those that docs/litellm.md says were run."""

from bootstrap.domain.lab import LITELLM_TESTED, LITELLM_VERSION
from support.homes import REPOSITORY
from support.version_table import BEGINS, ENDS, HEAD, PAGE, rows_of, with_rows

TABLE = f"""before
{BEGINS}{HEAD}\
| 1.109.1 | yes | yes | yes | certifi 2026.10.18 |
| 1.80.0 | yes | no | yes | as it asks |
{ENDS}after
"""


def test_the_versions_that_count_as_tested_are_those_that_were_run_whole() -> None:
    rows = rows_of((REPOSITORY / PAGE).read_text())
    assert [row[0] for row in reversed(rows) if row[1:4] == ("yes",) * 3] == [*LITELLM_TESTED]
    assert LITELLM_VERSION in LITELLM_TESTED


def test_a_row_takes_the_place_of_its_version_and_a_new_one_its_own() -> None:
    assert [row[0] for row in rows_of(TABLE)] == ["1.109.1", "1.80.0"]
    assert with_rows(TABLE, []) == TABLE
    page = with_rows(
        TABLE, [("1.80.0", *("yes",) * 3, "as it asks"), ("1.99.4", *("no",) * 3, "x")]
    )
    assert (page[:7], page[-6:]) == ("before\n", "after\n")
    assert rows_of(page) == [
        rows_of(TABLE)[0],
        ("1.99.4", "no", "no", "no", "x"),
        ("1.80.0", "yes", "yes", "yes", "as it asks"),
    ]
