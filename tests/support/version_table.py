"""The table of docs/litellm.md that says which LiteLLM versions were run."""

from collections.abc import Iterable

PAGE = "docs/litellm.md"
BEGINS = "<!-- benchmarks/versions.py begins -->\n"
ENDS = "<!-- benchmarks/versions.py ends -->\n"
HEAD = """\
| LiteLLM | guard | configuration | rotations under load | installed |
|---|---|---|---|---|
"""
# A version, `yes` or `no` for each file of tests, and what was installed beside it.
Row = tuple[str, ...]


def rows_of(page: str) -> list[Row]:
    """Return the rows, newest version first."""
    table = page.partition(BEGINS)[2].partition(ENDS)[0].removeprefix(HEAD)
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in table.splitlines()]


def with_rows(page: str, rows: Iterable[Row]) -> str:
    """Return the page with these rows, and those of other versions as they are."""
    merged = {row[0]: row for row in (*rows_of(page), *rows)}
    newest_first = sorted(merged.values(), key=_version, reverse=True)
    lines = "".join(f"| {' | '.join(row)} |\n" for row in newest_first)
    before, _, rest = page.partition(BEGINS)
    return f"{before}{BEGINS}{HEAD}{lines}{ENDS}{rest.partition(ENDS)[2]}"


def _version(row: Row) -> list[int]:
    return [int(part) for part in row[0].split(".")]
