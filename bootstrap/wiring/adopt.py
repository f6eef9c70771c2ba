"""What adopting a gateway takes, and what it would bring into lab.toml."""

from collections.abc import Callable
from pathlib import Path, PurePath

from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.machine import places
from bootstrap.adapters.old_gateway import await_return, is_returning
from bootstrap.domain.lab import LITELLM_VERSION
from bootstrap.domain.lab_additions import additions
from bootstrap.domain.lab_sample import LAB
from bootstrap.ports import Progress
from bootstrap.wiring import labs
from bootstrap.wiring.adopt_survey import Survey
from bootstrap.wiring.models import prepare, refuse_named_keys
from bootstrap.workflows.adopt import AdoptDesk, Adoptee
from bootstrap.workflows.adopt_note import read_note
from bootstrap.workflows.import_models import Import
from bootstrap.workflows.tools import Tools

_KEPT = "adopted"


def await_old(root: PurePath, progress: Progress) -> None:
    """Wait for the old gateway where an earlier run that did not end has just started it again.

    Raises:
        ServiceError: It does not answer in two minutes.
    """
    note = read_note(LocalFiles(), places().lab_state(root) / _KEPT)
    if note is not None and is_returning(note.started):
        with progress.step("wait for the old gateway, which the last run has started again"):
            await_return(note.started)


def preview(adoptee: Adoptee) -> Import | None:
    """Return what would come into lab.toml; changes nothing."""
    if adoptee.found is None:
        return None
    if Path(adoptee.root, "lab.toml").exists():
        return prepare(adoptee.root, adoptee.found)
    text = LAB.format(port=adoptee.port, version=LITELLM_VERSION)
    more = additions(text, adoptee.root, adoptee.found, {})
    refuse_named_keys(more)
    return Import(adoptee.root, more, None)


def desk(survey: Survey, progress: Progress, settle: Callable[[Tools], object]) -> AdoptDesk:
    """Return how adopting gets hold of the world.

    Args:
        survey: What was found.
        progress: Where to say what is going on.
        settle: Brings an open rotation to its end.
    """
    root = survey.root
    return AdoptDesk(
        files=LocalFiles(),
        desk=labs.desk(root),
        tools=lambda: labs.tools(root, progress),
        settle=settle,
        lock=lambda: labs.lock(root),
        register=lambda: labs.register_default(root),
        holders=survey.holders,
        keep=places().lab_state(root) / _KEPT,
    )
