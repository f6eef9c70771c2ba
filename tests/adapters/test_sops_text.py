"""What an encrypted file shows without a key."""

import pytest

from bootstrap.adapters.sops_text import kind_of, names_in
from bootstrap.domain.errors import StoreDamagedError

FILE = "/lab/my secrets/global.enc.env"
END = "sops_mac=ENC[AES256_GCM,data:x]\nsops_version=3.11.0\n"
VALUE = "ENC[AES256_GCM,data:abc,type:str]"
PLAIN = "sk-test-plain-0123456789"


def complaint(data: str | bytes, kind: str = "dotenv") -> StoreDamagedError:
    raw = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(StoreDamagedError) as caught:
        names_in(raw, kind, FILE)
    error = caught.value
    assert FILE in error.what
    assert error.fix
    assert "{file}" not in error.fix
    assert PLAIN not in f"{error.what} {error.why} {error.fix}"
    return error


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.enc.env", "dotenv"),
        (".env", "dotenv"),
        ("a.json", "json"),
        ("a.yaml", "yaml"),
        ("a.yml", "yaml"),
        ("a.env.tmp", None),
        ("env", None),
    ],
)
def test_the_end_of_the_name_decides_the_type(file: str, kind: str | None) -> None:
    assert kind_of(file) == kind


def test_names_are_read_without_a_key_in_the_files_order() -> None:
    text = f"#ENC[comment]\nB={VALUE}\n\nA={VALUE}\nEMPTY=\nodd.name={VALUE}\n{END}"
    assert names_in(text.encode(), "dotenv", FILE) == ("B", "A", "EMPTY", "odd.name")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "it is empty, so probably cut off"),
        ("\n", "it is empty, so probably cut off"),
        (f"\ufeffA={VALUE}\n{END}", "byte order mark"),
        (f"A={VALUE}\n{END}".replace("\n", "\r\n"), "CR LF"),
        (f"<<<<<<< HEAD\nA={VALUE}\n=======\nA={VALUE}\n>>>>>>> b\n{END}", "merge conflict"),
        (f"A={VALUE}\n||||||| base\n{END}", "merge conflict"),
        (b"A=\xff\n" + END.encode(), "not UTF-8"),
        (f"A={PLAIN}\n", "not encrypted"),
        (f"-----BEGIN {PLAIN}\n{PLAIN}=\n", "not encrypted"),
        (f"A={VALUE}\nB=ENC[AES", "cut off"),
        (f"A={VALUE}\nsops_age__list_0__map_enc=x\n", "cut off"),
        (f"A={VALUE}\n{PLAIN}\n{END}", "line 2 is not NAME=VALUE"),
        (f"export A={PLAIN}\n{END}", "line 1 has 'export'"),
        (f" A={VALUE}\n{END}", "line 1 has 'export' or a space"),
        (f"A ={VALUE}\n{END}", "line 1 has 'export' or a space"),
        (f"=x\n{END}", "line 1 has 'export' or a space"),
        (f"A={VALUE}\nB=<nil>\n{END}", "line 2 was set to null"),
        (f"A={VALUE}\nB={VALUE}\nA={VALUE}\n{END}", "A stands in it twice"),
        (f"{PLAIN}={VALUE}\n{PLAIN}={VALUE}\n{END}", "a name stands in it twice"),
        (f"A_unencrypted={PLAIN}\n{END}", "A_unencrypted is in the clear"),
    ],
)
def test_an_unsound_dotenv_file_is_explained_without_quoting_it(
    data: str | bytes, why: str
) -> None:
    assert why in complaint(data).why


def test_the_advice_can_be_pasted_into_a_shell() -> None:
    error = complaint(f"A={VALUE}\nA={VALUE}\n{END}")
    assert error.fix.endswith("sops unset '/lab/my secrets/global.enc.env' '[\"A\"]'")


def test_a_json_store_shows_its_names() -> None:
    text = f'{{"B": "{VALUE}", "t": {{"a": 1, "a2": [1]}}, "sops": {{"mac": "x"}}}}'
    assert names_in(text.encode(), "json", FILE) == ("B", "t")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"A": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        (f'{{"A": "{PLAIN}"}}', "not encrypted"),
        (f'{{"A": "{VALUE}", "A": "{VALUE}", "sops": {{}}}}', "A stands in it twice"),
        (f'{{"{{file}}": 1, "{{file}}": 1, "s": "{VALUE}", "sops": {{}}}}', "a name stands"),
    ],
)
def test_an_unsound_json_store_is_explained(text: str, why: str) -> None:
    assert why in complaint(text, "json").why


def test_a_yaml_store_shows_its_names() -> None:
    text = f'---\n# c\nB: {VALUE}\n"N": {VALUE}\nt:\n    in: {VALUE}\n\nsops:\n    mac: x\n'
    assert names_in(text.encode(), "yaml", FILE) == ("B", "N", "t")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"A: {PLAIN}\n", "not encrypted"),
        (f"A: {VALUE}\n", "cut off"),
        (f"- {PLAIN}\n", "line 1 is not NAME: VALUE"),
        (f"- a: {PLAIN}\n", "line 1 is not NAME: VALUE"),
        (f"A: {VALUE}\nA: {VALUE}\nsops:\n  mac: x\n", "A stands in it twice"),
    ],
)
def test_an_unsound_yaml_store_is_explained(text: str, why: str) -> None:
    assert why in complaint(text, "yaml").why
