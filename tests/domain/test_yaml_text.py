"""YAML that somebody else wrote: plain data, or a reason why not, in a moment."""

import pytest

from bootstrap.domain.yaml_text import UnreadableYaml, load_yaml


def bomb(merge: bool) -> bytes:
    """Nine levels, each with the one below it nine times."""
    first = "{x0: 1}" if merge else "[x]"
    lines = [f"a0: &a0 {first}"]
    for level in range(1, 10):
        many = ", ".join([f"*a{level - 1}"] * 9)
        inner = f"{{<<: [{many}], x{level}: 1}}" if merge else f"[{many}]"
        lines.append(f"a{level}: &a{level} {inner}")
    return "\n".join(lines).encode()


def test_plain_data_is_read_with_its_aliases_and_merge_keys() -> None:
    text = b"a: &a {x: 1, y: [2, true, null]}\nb: {<<: *a, x: 3}\nc: [*a, *a]\n"
    whole = {"x": 1, "y": [2, True, None]}
    assert load_yaml(text) == {"a": whole, "b": {**whole, "x": 3}, "c": [whole, whole]}


@pytest.mark.parametrize("text", [b"", b"# nothing\n"])
def test_an_empty_file_is_nothing(text: bytes) -> None:
    assert load_yaml(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [\n  1\n", "not YAML (line"),
        (b"a: 1\n---\nb: 2\n", "not YAML"),
        (b"a: !!python/object/apply:os.system [id]\n", "not YAML"),
        (b"a: !include other.yaml\n", "not YAML"),
        (b"a: \xff\xfe\n", "not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"[a]: {[b]: c}\n", "not YAML"),
        (b"a: 9999-99-99\n", "not YAML"),
        (b"a: " + b"[" * 900, "not YAML"),
        (b"a: &a [*a]\n", "refers to itself (line 1)"),
        (b"a: &a {<<: *a}\n", "refers to itself"),
        (b"a: 1\nb: 0x" + b"f" * 5000, "too long (line 2)"),
        (bomb(merge=False), "aliases"),
        (bomb(merge=True), "aliases"),
        (b"a: '" + b"x" * 4 * 1024 * 1024 + b"'\n", "4 MiB"),
    ],
)
def test_what_cannot_be_read_is_said_and_not_quoted(text: bytes, words: str) -> None:
    with pytest.raises(UnreadableYaml) as caught:
        load_yaml(text)
    assert words in str(caught.value)
