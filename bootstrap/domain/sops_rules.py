"""Which age recipients a `.sops.yaml` has for a file, and which a file is encrypted for."""

import re
from typing import Any

_RECIPIENT = re.compile(r"age1[0-9a-z]{20,}")


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
        has a pattern that is no regular expression of Python's.
    """
    rule = _rule_for(_document(rules), place)
    if rule is None:
        return None
    groups = rule.get("key_groups")
    listed = [rule.get("age"), *map(_age, groups if isinstance(groups, list) else ())]
    return frozenset(_RECIPIENT.findall(" ".join(str(words) for words in listed)))


def _document(rules: bytes) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(rules)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _rule_for(document: dict[str, Any], place: str) -> dict[str, Any] | None:
    found = document.get("creation_rules")
    for rule in found if isinstance(found, list) else ():
        pattern = rule.get("path_regex", "") if isinstance(rule, dict) else None
        try:
            if re.search(str(pattern), place):
                return rule if isinstance(rule, dict) else None
        except re.error:
            return None
    return None


def _age(group: object) -> object:
    return group.get("age") if isinstance(group, dict) else None
