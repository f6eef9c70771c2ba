"""How each CI system hides a value in its logs, as text. Nothing here prints.

GitHub and Azure Pipelines obey commands on standard output, Buildkite has a program for it, and
GitLab hides only what its settings mark as masked, if it can be.
"""

import re
import shlex
from collections.abc import Mapping

GITHUB, GITLAB, BUILDKITE, AZURE, GENERIC = "github", "gitlab", "buildkite", "azure", "generic"
# By the variable that the system sets, most specific first: all of them set CI as well.
_MARKS = (
    ("GITHUB_ACTIONS", GITHUB),
    ("GITLAB_CI", GITLAB),
    ("BUILDKITE", BUILDKITE),
    ("TF_BUILD", AZURE),
    ("JENKINS_URL", GENERIC),
    ("CI", GENERIC),
)
# A mask on something shorter would blacken half of every log.
SHORTEST = 4
_GITLAB_SHORTEST = 8
_GITLAB_CHARACTERS = re.compile(r"[A-Za-z0-9+/=@:.~_-]+")


def detect(environ: Mapping[str, str]) -> str | None:
    """Return which CI system the variables speak of, or None outside of any."""
    no = ("", "0", "false")
    return next((kind for name, kind in _MARKS if environ.get(name, "").lower() not in no), None)


def parts(value: str) -> list[str]:
    """Return the value and, where it has several lines, each of them: logs go by lines.

    Lines shorter than SHORTEST are left out.
    """
    lines = [line.strip("\r") for line in value.split("\n")]
    return list(dict.fromkeys(p for p in (value, *lines) if len(p.strip()) >= SHORTEST))


def mask_command(kind: str, value: str) -> str | None:
    """Return the line that makes the system hide `value`; it holds the value.

    Args:
        kind: GITHUB or AZURE.
        value: One of `parts`.

    None for a value of several lines on Azure, which refuses them: its lines are enough.
    """
    if kind == AZURE:
        several = "\n" in value or "\r" in value
        return None if several else f"##vso[task.setsecret]{value.replace('%', '%AZP25')}"
    data = value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::add-mask::{data}"


def redactor_lines(variable: str | None, name: str, keyturn: str) -> list[str]:
    """Return shell lines that hand a secret to Buildkite's redactor; no value is in them.

    Args:
        variable: The environment variable that holds it, or None.
        name: The secret's name, for where no variable does.
        keyturn: The path of the keyturn program.
    """
    get = f"{shlex.quote(keyturn)} get {shlex.quote(name)}"
    source = f"printf '%s' \"${{{variable}}}\"" if variable else get
    return [
        f"{source} | buildkite-agent redactor add",
        f'{source} | while IFS= read -r line || [ -n "$line" ]; do '
        f'[ "${{#line}}" -lt {SHORTEST} ] || printf \'%s\' "$line" '
        "| buildkite-agent redactor add; done",
    ]


def gitlab_problem(value: str) -> str | None:
    """Return why GitLab refuses to mask a variable with this value (one clause), or None."""
    if "\n" in value or "\r" in value:
        return "it has several lines"
    if len(value) < _GITLAB_SHORTEST:
        return f"it has fewer than {_GITLAB_SHORTEST} characters"
    if not _GITLAB_CHARACTERS.fullmatch(value):
        return "it has characters that GitLab does not mask"
    return None
