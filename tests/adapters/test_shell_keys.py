"""A key leaves a shell file, and the shell gets it all the same."""

import subprocess

import pytest

from bootstrap.adapters.shell_keys import assigned, holds, with_reference, without_keys
from bootstrap.domain.secret import Secret

pytestmark = pytest.mark.integration

KEY = "sk-test-0123456789abcdef"
# What a shell prints that asks this command is the key again.
COMMAND = "printf %s sk-test-$((0))123456789abcdef"


def scrubbed(text: str) -> str:
    return without_keys(text.encode(), {"K": (Secret(KEY), COMMAND)}).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"export K={KEY}\nshow $K",
        f"export K='{KEY}' # mine\nshow $K",
        f'export K="{KEY}"\nshow "$K"',
        f"show a{KEY}b | tr -d ab >/dev/null; show {KEY}",
        f'show "Authorization: Bearer {KEY}" | cut -d" " -f3',
        f"show 'Authorization: Bearer {KEY}' | cut -d' ' -f3",
        f"run() {{\n  K={KEY} \\\n  sh -c 'printf %s \"$K\"'\n}}\nrun",
        f"shopt -s expand_aliases\nalias ask='K={KEY} printenv K'\nask",
        f'show \\"{KEY}\\" | tr -d \'"\'',
    ],
)
def test_what_a_file_means_to_the_shell_stays_the_same(text: str) -> None:
    after = scrubbed(text)
    assert KEY not in after
    shell = f'show() {{ printf %s "$1"; }}\n{after}\n'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == KEY


def test_every_other_byte_stays_and_comments_lose_the_key() -> None:
    text = f"a='x'\n# old: {KEY}\nb=1 # {KEY}\necho '#{KEY[:5]}'\r\n\udcff"
    data = text.encode("utf-8", "surrogateescape")
    after = without_keys(data, {"K": (Secret(KEY), COMMAND)})
    assert after == data.replace(KEY.encode(), b"(removed by keyturn adopt)")


def test_other_files_get_a_reference() -> None:
    data = f'{{"apiKey": "{KEY}"}}'.encode()
    keys = {"K": Secret(KEY)}
    assert holds(data, keys.values())
    after = with_reference(data, {"K": (Secret(KEY), "${K}")})
    assert after == b'{"apiKey": "${K}"}'
    assert not holds(after, keys.values())


def test_literal_values_are_found_and_references_are_not() -> None:
    text = f"export K='{KEY}'\nK=$OTHER\nK=\"$(ask)\"\nL={KEY}2\nKK=short"
    assert assigned(text.encode(), ("K", "KK")) == [Secret(KEY)]
