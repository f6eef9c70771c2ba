"""What `keyturn doctor` knows: checks that turn observations into findings.

Adapters gather `Observations` once, in parallel, each part guarded and timed; the checks here are
small pure functions over them. A part that could not be observed makes the checks that need it "not
applicable", with the reason, and stops nothing else.

To add a check:

1. Give it a code: a `Code` in `codes_GROUP.py`, with the next free number. The texts there are what
   `keyturn explain` prints and what docs/doctor.md lists (`scripts/doctor-docs.sh` writes that).
2. If it needs something that is not observed yet, add a field to the facts of the group
   (`facts_GROUP.py`; a new group also gets a field in `Observations`), and let the group's observer
   in `bootstrap/adapters/doctor_GROUP.py` fill it. Observers of groups stand in
   `bootstrap.wiring.doctor.OBSERVERS`. An observer may wait for a program or the network, never
   longer than its own time limit, and may raise: its part is then None, and the reason is said.
3. Write a function `(Observations) -> Iterator[Finding]` in `checks_GROUP….py` that yields
   `CODE.error(…)`, `CODE.warning(…)` or `CODE.note(…)`, and add `Check(CODE, function)` to the
   group's CHECKS. Yielding nothing means that all is well. What it yields may quote names, paths,
   URLs and fingerprints, never a value of a key.
   Where a command mends it, the finding's `mend` begins with it, whole and quoted for a shell, and
   another way follows after ", or" (see `mend_command.py`): a test types it and wants green.
4. What can be mended safely gets a `FileFix` (a pure, idempotent function from the file's bytes to
   new ones) or a `CommandFix`. They are shown, backed up, carried out and undone by the workflow.
   One that changes what the gateway or a backend answers takes that observer out of `_ASKED_ONCE`
   in `bootstrap.wiring.doctor`: what stands there is not looked at again after a fix.
5. Test it by planting the fault in a real HOME: see tests/support/doctor.py.

Groups are listed in `bootstrap.domain.doctor.groups`.
"""
