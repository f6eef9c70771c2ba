"""The secrets that a CI job handles, and the system it runs in."""

import os
from collections.abc import Mapping, Sequence

from bootstrap.adapters import ci_masks
from bootstrap.domain import ci
from bootstrap.domain.errors import UsageError
from bootstrap.domain.ref import SecretRef, named_ref
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import SecretSpec
from bootstrap.wiring import found_lab, output
from bootstrap.wiring.providers import Providers
from bootstrap.workflows.resolve import Resolved, Resolver


def system() -> str:
    """Return the CI system that this job runs in.

    Raises:
        UsageError: It is no CI job: a terminal would show and keep what is printed.
    """
    found = ci.detect(os.environ)
    if found is None:
        raise UsageError(
            "this is no CI job",
            why="none of GITHUB_ACTIONS, GITLAB_CI, BUILDKITE, TF_BUILD, JENKINS_URL, CI is set",
            fix="run it in the job, before the first step that uses the key",
        )
    return found


def resolve(lab: str | None, pairs: Sequence[str]) -> dict[str, Resolved]:
    """Return the secrets by name.

    Args:
        lab: `--lab`, or None.
        pairs: `NAME` or `NAME=REF` each; none means the names under [exec] in lab.toml. Without
            a lab a `NAME` is read from the variable of that name.

    Raises:
        UsageError: Neither a lab nor a name, or a bad name.
        SecretError: One cannot be had.
    """
    root = found_lab.locate(lab)
    known = None if root is None else found_lab.load(root)
    specs = dict(known.secrets) if known else {}
    names = list(known.exec_names) if known and not pairs else []
    for pair in pairs:
        name, ref = named_ref(pair)
        if ref is not None or known is None:
            specs[name] = SecretSpec(name, (ref or SecretRef("env", name),))
        names.append(name)
    if not names:
        raise UsageError(
            "no secret is named",
            why="there is no lab here that says which ones the job uses",
            fix="name them: keyturn ci mask LITELLM_MASTER_KEY",
        )
    return Resolver(specs, Providers(root or found_lab.working_directory())).resolve_all(names)


def write_masks(kind: str, secrets: Mapping[str, Secret]) -> list[str]:
    """Write the masking commands; see `bootstrap.adapters.ci_masks.write_masks`.

    Raises:
        BrokenPipeError: Nobody reads them any more.
        TargetError: They could not be written, or not all of them.
    """
    with output.explained():
        return ci_masks.write_masks(kind, secrets)


def gitlab_problems(secrets: Mapping[str, Secret]) -> dict[str, str | None]:
    """Return, by name, why GitLab would not mask a variable with that value, or None."""
    return ci_masks.gitlab_problems(secrets)
