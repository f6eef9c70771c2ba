"""KT1xx: Factory droid."""

from bootstrap.domain.doctor.check import Group
from bootstrap.domain.doctor.checks_droid_entries import ENTRY_CHECKS, FIELD_CHECKS
from bootstrap.domain.doctor.checks_droid_keys import (
    KEY_CHECKS,
    LITERAL_CHECKS,
    NOTATION_CHECKS,
    ODD_KEY_CHECKS,
)
from bootstrap.domain.doctor.checks_droid_places import PLACE_CHECKS
from bootstrap.domain.doctor.checks_droid_setup import SETUP_CHECKS
from bootstrap.domain.doctor.checks_droid_syntax import FILE_CHECKS, SYNTAX_CHECKS
from bootstrap.domain.doctor.observations import Observations

_CHECKS = (
    *SYNTAX_CHECKS,
    *FILE_CHECKS,
    *ENTRY_CHECKS,
    *FIELD_CHECKS,
    *KEY_CHECKS,
    *LITERAL_CHECKS,
    *NOTATION_CHECKS,
    *ODD_KEY_CHECKS,
    *PLACE_CHECKS,
    *SETUP_CHECKS,
)


def _absent(seen: Observations) -> str:
    droid = seen.droid
    if droid is None or droid.installations or droid.running or droid.desktop:
        return ""
    there = any(found.file.state or found.file.problem for found in droid.files)
    return "" if there else "droid is neither installed nor configured here"


DROID = Group(
    "KT1", "Factory droid", tuple(sorted(_CHECKS, key=lambda check: check.code.id)), _absent
)
