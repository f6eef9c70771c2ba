"""Which part of what doctor says about a mend is a command."""

import pytest

from bootstrap.domain.doctor.mend_command import command_in


@pytest.mark.parametrize(
    ("mend", "command"),
    [
        ("keyturn apply", "keyturn apply"),
        ("keyturn apply, which moves them and keeps a backup", "keyturn apply"),
        ("keyturn service stop && keyturn apply", "keyturn service stop && keyturn apply"),
        ("export NO_PROXY=127.0.0.1,localhost", "export NO_PROXY=127.0.0.1,localhost"),
        ("(cd /lab && sops updatekeys -y a.enc.env)", "(cd /lab && sops updatekeys -y a.enc.env)"),
        ("chmod 600 /f, and keyturn rotate where others use this machine", "chmod 600 /f"),
        ("keyturn doctor --fix KT106, or write it, but with care", "keyturn doctor --fix KT106"),
        ("ollama pull qwen3", "ollama pull qwen3"),
        ("OLLAMA_HOST=http://h:1 ollama pull q", "OLLAMA_HOST=http://h:1 ollama pull q"),
        ("keyturn exec -- droid", ""),
        ("keyturn list shows each source", ""),
        ("take it out of the file", ""),
        ("", ""),
    ],
)
def test_a_command_ends_where_another_way_begins(mend: str, command: str) -> None:
    assert command_in(mend) == command
