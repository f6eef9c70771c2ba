"""Which age recipients a `.sops.yaml` has for a file, and which a file is encrypted for."""

import re
from typing import Any

from bootstrap.domain.yaml_text import UnreadableYaml, load_yaml

_RECIPIENT = re.compile(r"age1[0-9a-z]{20,}")
# What stands for one character, as written in a pattern.
_ONE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUPS_REPEATED = re.compile(r"\)\s*[*+{]")
_REPEATED = re.compile(r"[*+{]")
_EITHER_WAY = re.compile(r"[?|]")
# What Go and Python read differently.
_OF_GO = re.compile(r"\[\[:|\\[QEzC]")
_MOST_STEPS = 30_000_000


def encrypted_for(data: bytes) -> frozenset[str]:
    """Return the age recipients that stand in an encrypted file."""
    return frozenset(_RECIPIENT.findall(data.decode("utf-8", "replace")))


def wanted_for(rules: bytes, place: str) -> frozenset[str] | None:
    """Return the age recipients that a `.sops.yaml` has for a file.

    Args:
        rules: The text of the `.sops.yaml`.
        place: The file's path, relative to the folder of the rules.

    Returns:
        None where no rule of it is for the file, or where that cannot be told: it is malformed, or
        has a pattern that is no regular expression of Python's, or one that Python, other than
        sops, could take forever to compare.
    """
    rule = _rule_for(_document(rules), place)
    if rule is None:
        return None
    groups = rule.get("key_groups")
    listed = [rule.get("age"), *map(_age, groups if isinstance(groups, list) else ())]
    return frozenset(_RECIPIENT.findall(" ".join(str(words) for words in listed)))


def _document(rules: bytes) -> dict[str, Any]:
    try:
        document = load_yaml(rules)
    except UnreadableYaml:
        return {}
    return document if isinstance(document, dict) else {}


def _rule_for(document: dict[str, Any], place: str) -> dict[str, Any] | None:
    found = document.get("creation_rules")
    for rule in found if isinstance(found, list) else ():
        pattern = str(rule.get("path_regex") or "") if isinstance(rule, dict) else ""
        if not _is_quick(pattern, place):
            return None
        try:
            if re.search(pattern, place):
                return rule if isinstance(rule, dict) else None
        except re.error:
            return None
    return None


def _is_quick(pattern: str, place: str) -> bool:
    """Tell whether Python is sure to be done with a pattern soon.

    It tries one way after the other, and each repetition has as many as the text is long; sops'
    own expressions take one pass. A repeated group that repeats something itself has no bound.
    """
    bare = _ONE.sub("x", pattern)
    if _OF_GO.search(pattern) or _GROUPS_REPEATED.search(bare):
        return False
    ways: int = (len(place) + 1) ** (len(_REPEATED.findall(bare)) + 1)
    ways <<= len(_EITHER_WAY.findall(bare))
    return ways <= _MOST_STEPS


def _age(group: object) -> object:
    return group.get("age") if isinstance(group, dict) else None
