"""What the gateway's environment holds and lacks, and how words stand in a unit file."""

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.service_env import (
    FILTERS,
    REDIRECTING_VARIABLES,
    service_environment,
    systemd_arg,
    systemd_env_file,
    systemd_text,
    unset_for,
)


def test_no_variable_is_both_given_and_taken_away() -> None:
    assert not REDIRECTING_VARIABLES & service_environment().keys()


def test_a_variable_that_the_lab_sets_on_purpose_is_not_taken_away() -> None:
    unset = unset_for(["OLLAMA_API_KEY", "LITELLM_MASTER_KEY"])
    assert "OLLAMA_API_KEY" not in unset
    assert "OPENAI_API_KEY" in unset
    assert list(unset) == sorted(unset)


@pytest.mark.parametrize(
    "name",
    [
        "http_proxy", "HTTPS_PROXY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL",
        "OLLAMA_API_BASE", "HOSTED_VLLM_API_BASE", "HOST", "PORT", "NUM_WORKERS", "DATABASE_URL",
        "CONFIG_FILE_PATH", "LITELLM_LOG", "DETAILED_DEBUG", "LITELLM_DISABLE_REDACT_SECRETS",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "SOPS_AGE_KEY", "DIRENV_DIFF",
        "PYTHONPATH", "SSLKEYLOGFILE",
    ],
)  # fmt: skip
def test_what_redirects_opens_or_exposes_the_gateway_is_not_inherited(name: str) -> None:
    assert name in unset_for([])


def test_the_keys_of_the_gateway_itself_are_never_taken_away() -> None:
    assert not {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"} & set(unset_for([]))


def test_the_fixed_environment_is_a_copy() -> None:
    service_environment().clear()
    assert service_environment()["LITELLM_MODE"] == "PRODUCTION"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", '"plain"'),
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("100%h", '"100%%h"'),
        ("$HOME", '"$HOME"'),
        ("a\nb\t\x7f", r'"a\x0ab\x09\x7f"'),
        ("é", '"é"'),
        ("", '""'),
    ],
)
def test_a_word_is_quoted_for_systemd(text: str, written: str) -> None:
    assert systemd_arg(text) == written


def test_a_wildcard_in_the_env_files_path_stands_for_itself() -> None:
    assert systemd_env_file("/a b/[x]*?%h\\y") == "/a b/\\[x]\\*\\?%%h\\\\y"


@pytest.mark.parametrize("text", ["a\nb", " a", "a ", "a\\", "a\x7f"])
def test_text_that_such_a_line_cannot_hold_is_refused(text: str) -> None:
    for write in (systemd_text, systemd_env_file):
        with pytest.raises(ConfigError):
            write(text)


def test_a_program_is_quoted_too() -> None:
    assert systemd_arg("/a b/100%/$x", program=True) == '"/a b/100%%/$x"'


@pytest.mark.parametrize("path", ["/it's", '/"x"', "/a\\b", "/a\nb"])
def test_a_program_that_systemd_never_runs_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        systemd_arg(path, program=True)
    assert "supervisor" in caught.value.fix


def test_every_filter_of_the_templates_is_listed() -> None:
    assert set(FILTERS) == {"systemd_arg", "systemd_env_file", "systemd_text"}
