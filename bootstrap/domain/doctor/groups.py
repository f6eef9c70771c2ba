"""All groups of checks, and the handbook that is made from their codes."""

from bootstrap.domain.doctor.check import Group
from bootstrap.domain.doctor.checks_backends import BACKENDS
from bootstrap.domain.doctor.checks_claude import CLAUDE
from bootstrap.domain.doctor.checks_droid import DROID
from bootstrap.domain.doctor.checks_gateway import GATEWAY
from bootstrap.domain.doctor.checks_lab import LAB
from bootstrap.domain.doctor.checks_secrets import SECRETS
from bootstrap.domain.doctor.finding import Code
from bootstrap.domain.errors import UsageError

GROUPS: tuple[Group, ...] = (LAB, DROID, CLAUDE, GATEWAY, SECRETS, BACKENDS)


# What docs/doctor.md has before and after the list.
BEGIN, END = "<!-- codes: begin -->\n", "<!-- codes: end -->\n"


def codes(groups: tuple[Group, ...] = GROUPS) -> dict[str, Code]:
    """Return every code by id, in order."""
    return {code.id: code for group in groups for code in group.codes}


def parse_codes(words: list[str]) -> list[str]:
    """Return the codes, or beginnings of codes, that `words` spell.

    Raises:
        UsageError: There is no such code.
    """
    known = codes()
    chosen = [word.upper() for word in words]
    for word in chosen:
        if not word.startswith("KT") or not any(code.startswith(word) for code in known):
            raise UsageError(
                f"there is no code {word}",
                why="doctor looks for nothing of that name",
                fix="list them: keyturn explain",
            )
    return chosen


def handbook() -> str:
    """Return the list of all codes as Markdown, for docs/doctor.md."""
    parts = []
    for group in GROUPS:
        parts.append(f"## {group.title}\n")
        for code in group.codes:
            mark = " (`--fix`)" if code.fixable else ""
            parts.append(f"### {code.id}: {code.title}{mark}\n")
            parts.append(f"{code.why}\n\n{code.more}\n\n**Mend it:** {code.mend}\n")
    return "\n".join(parts)


def in_document(text: str) -> str:
    """Return the text of docs/doctor.md with the list of codes as it should be.

    Raises:
        ValueError: The text lacks the marks around the list.
    """
    start = text.index(BEGIN) + len(BEGIN)
    return f"{text[:start]}\n{handbook()}\n{text[text.index(END, start) :]}"
