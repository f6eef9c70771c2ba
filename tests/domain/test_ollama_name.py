"""Ollama's names of models, as the real one took them (0.32.15)."""

import shlex

import pytest

from bootstrap.domain.ollama_name import full_name, is_in_the_cloud, pull_command


@pytest.mark.parametrize(
    "name",
    [
        "qwen3",
        "qwen3:latest",
        "QWEN3",
        "Qwen3:LATEST",
        " qwen3 ",
        "library/qwen3",
        "registry.ollama.ai/library/qwen3:latest",
        "https://registry.ollama.ai/library/qwen3",
        "HTTPS://Registry.Ollama.ai/Library/QWEN3:LATEST:local",
        "qwen3:local",
        "qwen3:latest:local",
    ],
)
def test_spellings_that_ollama_takes_for_one_model_are_one(name: str) -> None:
    assert full_name(name) == "registry.ollama.ai/library/qwen3:latest"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("qwen2.5-coder:7b", "registry.ollama.ai/library/qwen2.5-coder:7b"),
        ("me/qwen3", "registry.ollama.ai/me/qwen3:latest"),
        ("ollama.com/library/qwen3", "ollama.com/library/qwen3:latest"),
        ("hf.co/me/tiny-GGUF:Q8_0", "hf.co/me/tiny-gguf:q8_0"),
        ("http://hf.co/me/tiny-GGUF:Q8_0", "hf.co/me/tiny-gguf:q8_0"),
        ("localhost:5000/me/qwen3", "localhost:5000/me/qwen3:latest"),
    ],
)
def test_another_tag_user_or_registry_is_another_model(name: str, full: str) -> None:
    assert full_name(name) == full


@pytest.mark.parametrize(
    ("name", "is_there"),
    [("gpt-oss:120b-cloud", True), ("qwen3:CLOUD", True), ("cloud", False), ("cloud:7b", False)],
)
def test_what_ollama_com_answers_is_known_by_its_tag(name: str, is_there: bool) -> None:
    assert is_in_the_cloud(name) is is_there


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("http://127.0.0.1:11434", "ollama pull qwen3"),
        ("http://localhost:11434/", "ollama pull qwen3"),
        ("http://127.0.0.1:11500/v1", "OLLAMA_HOST=http://127.0.0.1:11500 ollama pull qwen3"),
        ("https://me:pw@gpu.lan", "OLLAMA_HOST=https://gpu.lan ollama pull qwen3"),
        ("", "OLLAMA_HOST='(no URL)' ollama pull qwen3"),
    ],
)
def test_a_model_is_pulled_by_the_ollama_that_the_lab_names(url: str, command: str) -> None:
    assert pull_command("qwen3", url) == command


def test_a_name_is_one_word_of_the_command_whatever_is_in_it() -> None:
    hostile = "--insecure'; $(reboot)"
    command = pull_command(hostile, "http://h`id`:1/")
    assert shlex.split(command) == ["OLLAMA_HOST=http://h`id`:1", "ollama", "pull", "--", hostile]
