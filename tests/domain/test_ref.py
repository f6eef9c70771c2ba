"""References parse, print back as they were written, and never echo a pasted key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.ref import SecretRef, store_name_problem

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f"))


@pytest.mark.parametrize(
    ("text", "scheme", "place", "name"),
    [
        ("sops:secrets/global.enc.env#KEY", "sops", "secrets/global.enc.env", "KEY"),
        ("keyring:keyturn#KEY", "keyring", "keyturn", "KEY"),
        ("env:KEY", "env", "KEY", ""),
        ("file:/run/credentials/a#b", "file", "/run/credentials/a#b", ""),
        ("vault:kv/lab#master", "vault", "kv/lab", "master"),
        ("sops:odd#folder/x.enc.env#KEY", "sops", "odd#folder/x.enc.env", "KEY"),
    ],
)
def test_a_reference_splits_into_scheme_place_and_name(
    text: str, scheme: str, place: str, name: str
) -> None:
    ref = SecretRef.parse(text)
    assert (ref.scheme, ref.place, ref.name) == (scheme, place, name)
    assert str(ref) == text
    assert repr(ref) == f"SecretRef({text!r})"
    assert ref == SecretRef.parse(text)
    assert hash(ref) == hash(SecretRef.parse(text))
    assert ref != text


@pytest.mark.parametrize(
    "text",
    [
        "", "KEY", ":KEY", "sops:", "sops:file", "sops:#KEY", "sops:f#1K", "sops:f#sops_mac",
        "sops:f#K_unencrypted", "env:", "env:A-B", "env:1A", "keyring:svc", "Sops:f#K", "vault:x#",
        "file:a\nb", "so ps:f#K", "sops:f#\u00e9",
    ],
)  # fmt: skip
def test_what_is_not_of_the_grammar_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SecretRef.parse(text)
    assert "sops:FILE#NAME" in caught.value.fix


def test_a_key_pasted_where_a_reference_belongs_is_not_echoed() -> None:
    for text in ("sk-test-pasted-key-0123456789", "sops:sk-test-pasted-key-0123456789"):
        with pytest.raises(ConfigError) as caught:
            SecretRef.parse(text)
        assert "pasted" not in f"{caught.value} {caught.value.fix}"


@given(PRINTABLE, PRINTABLE, PRINTABLE)
def test_whatever_parses_prints_back_as_it_was(scheme: str, place: str, name: str) -> None:
    for text in (f"{scheme}:{place}#{name}", f"sops:{place}#{name}", f"env:{place}", place):
        try:
            ref = SecretRef.parse(text)
        except ConfigError:
            continue
        assert str(ref) == text
        assert SecretRef.parse(str(ref)) == ref


@pytest.mark.parametrize("name", ["LITELLM_MASTER_KEY", "_x", "a1"])
def test_ordinary_names_may_stand_in_the_store(name: str) -> None:
    assert store_name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "sops_version", "KEY_unencrypted", "A=B", "A\nB"]
)
def test_names_that_would_break_or_expose_the_store_are_refused(name: str) -> None:
    assert store_name_problem(name)
