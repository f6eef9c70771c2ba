"""What adopting a gateway would do, in lines for people."""

from bootstrap.domain.catalogue import FILE
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.adopt import Adoptee
from bootstrap.workflows.import_models import Import

_MOST_REASONS = 3


def refuse_none(adoptee: Adoptee) -> None:
    """Refuse to put a gateway that serves nothing in the place of one that serves.

    Raises:
        ConfigError: Not one of its models can be carried over.
    """
    if adoptee.serves_none:
        raise ConfigError(
            f"none of the models in {adoptee.config} can be carried over",
            why="; ".join(adoptee.found.left_out[:_MOST_REASONS] if adoptee.found else ()),
            fix="describe them in lab.toml first: keyturn init; or go on: --without-models",
        )


def plan_lines(adoptee: Adoptee, preview: Import | None) -> list[tuple[str, str, str]]:
    """Return what `adopt` would do: (verb, what, why), without any value.

    Args:
        adoptee: What was found.
        preview: What would come into lab.toml, where that can be told already.
    """
    rows: list[tuple[str, str, str]] = []
    if adoptee.unfinished:
        rows.append(("go on", str(adoptee.root), "an earlier run was cut off in the middle"))
    key = adoptee.keys.get(MASTER_KEY)
    if key is None:
        rows.append(("make", MASTER_KEY, "no key was found: a fresh one"))
    else:
        state = {True: ", accepted by the gateway", False: ", which the gateway refuses"}
        seen = state.get(adoptee.accepted, "") if adoptee.accepted is not None else ""
        rows.append(("keep", MASTER_KEY, f"from {adoptee.key_from}{seen}; goes into the store"))
    if adoptee.weakness is not None:
        rows.append(("weak", MASTER_KEY, f"{adoptee.weakness}; afterwards: keyturn rotate"))
    rows.append(("lab", str(adoptee.root / FILE), f"port {adoptee.port}"))
    if preview is not None:
        more = preview.additions
        rows += [("import", alias, f"from {adoptee.config}") for alias in more.models]
        rows += [("secret", name, "goes into the store") for name in more.store]
        rows += [("missing", name, "put it into the store") for name in more.missing]
        rows += [("left out", line, "") for line in more.left_out]
    if adoptee.old is not None:
        rows.append(("stop", adoptee.old.label, "keyturn's own gateway takes its place"))
    rows += [("copy", str(path), "and then keyturn writes it") for path in adoptee.targets]
    rows += [("edit", str(edit.path), edit.what) for edit in adoptee.edits]
    if adoptee.claude:
        rows.append(("edit", "Claude Code's settings.json", "a command that asks keyturn for it"))
    return rows
