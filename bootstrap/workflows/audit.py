"""Write down what a rotation came to. A record that cannot be written changes nothing else."""

from bootstrap.domain.audit import Entry
from bootstrap.domain.errors import LabError
from bootstrap.domain.rotation import Record, Step
from bootstrap.workflows.tools import RotationTools, Tools


def audit(tools: Tools, using: RotationTools, record: Record) -> None:
    """Add a line where `record` is an end: before the journal says so, so that none is missing."""
    overlap = record.step is Step.PROVEN and record.retire_at is not None
    if not overlap and record.step not in (Step.CLOSED, Step.UNDONE):
        return
    try:
        using.audit.add(Entry.of(record))
    except LabError as error:
        tools.progress.note(f"The audit record was not written: {error}.")
