"""Which recipients `.sops.yaml` has for a file, as far as that can be told in a moment."""

import pytest

from bootstrap.domain.sops_rules import wanted_for

ANNA, BERT = "age1" + "a" * 58, "age1" + "q" * 58
PLACE = "secrets/global.enc.env"


def rules(*patterns: str) -> bytes:
    """Anna for the first pattern, Bert for the next."""
    rows = [
        f"  - path_regex: '{p}'\n    age: {who}\n"
        for p, who in zip(patterns, (ANNA, BERT), strict=False)
    ]
    return ("creation_rules:\n" + "".join(rows)).encode()


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "secrets/.*",
        r"^secrets/.*\.enc\.(env|json|ya?ml)$",
        r"(?i)SECRETS/[^/]+\.enc\.env",
        ".*/.*[*+{)]*.*",
        "(secrets|prod|stage|dev)/(a|b|global).enc.env",
    ],
)
def test_the_first_rule_that_fits_counts(pattern: str) -> None:
    assert wanted_for(rules("elsewhere/.*", pattern), PLACE) == frozenset({BERT})
    assert wanted_for(rules(pattern, ""), PLACE) == frozenset({ANNA})


@pytest.mark.parametrize(
    "pattern",
    [
        "(.*)*x",
        "((a|b)+ )+$",
        "(?x)(.+) {2,}!",
        ".*.*.*.*.*.*.*.*!",
        "s?" * 40 + "!",
        "(e|e)" * 40 + "!",
        "[[:alpha:]]+",
        r"\Qsecrets\E",
        r"secrets\z.*",
        "(",
    ],
)
def test_a_pattern_that_only_sops_reads_quickly_is_not_guessed_at(pattern: str) -> None:
    assert wanted_for(rules(pattern, ""), PLACE) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"creation_rules: 1",
        b"creation_rules: [1]",
        b"creation_rules: [{path_regex: other, age: x}]",
        b"creation_rules: &a [*a]",
        b": [",
    ],
)
def test_rules_that_are_none_are_for_no_file(text: bytes) -> None:
    assert wanted_for(text, PLACE) is None


def test_key_groups_count_too_and_odd_values_for_nobody() -> None:
    rule = f"{{path_regex: null, age: 5, key_groups: [{{age: [{ANNA}, {BERT}]}}, 7]}}"
    text = f"creation_rules: [{rule}]"
    assert wanted_for(text.encode(), PLACE) == frozenset({ANNA, BERT})
