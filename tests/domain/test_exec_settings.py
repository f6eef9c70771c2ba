"""What exec remembers of a lab file reads back as it was."""

import tomllib

from bootstrap.domain.exec_settings import from_text, parse_exec_settings, to_text

LAB = """
[exec]
secrets = ["LITELLM_MASTER_KEY", "B"]
[secrets.B]
optional = true
sources = ["sops:a b/ä#c.enc.env#B", "env:B"]
[[models]]
alias = "not needed"
"""


def test_settings_survive_as_text() -> None:
    settings = parse_exec_settings(tomllib.loads(LAB), "lab.toml")
    again = from_text(to_text(settings))
    assert again.names == ("LITELLM_MASTER_KEY", "B")
    assert {name: (spec.sources, spec.optional) for name, spec in again.specs.items()} == {
        name: (spec.sources, spec.optional) for name, spec in settings.specs.items()
    }
    assert again.specs["B"].optional
    assert to_text(again) == to_text(settings)


def test_a_lab_that_passes_nothing_by_default_stays_so() -> None:
    settings = parse_exec_settings({"exec": {"secrets": []}}, "lab.toml")
    assert from_text(to_text(settings)).names == ()
