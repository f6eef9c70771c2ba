"""Text of other programs and files is shown without anything that could be a key."""

import base64
import hashlib
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.domain.redact import mask_unknown, safe_diff

SHORT = "hunter2"  # too short to be recognised by its looks: only its place gives it away

PLACES = [
    "api_key: {}",
    "  master_key: '{}'  # rotate me",
    '-     "apiKey": "{}",',
    '{{"model": "m", "apiKey": "{}", "provider": "x"}}',
    "+LITELLM_MASTER_KEY={}",
    "export OPENAI_API_KEY='{}'",
    "# OLD_TOKEN={}",
    "Environment=REDIS_PASSWORD={}",
    'Environment="LITELLM_SALT_KEY={}"',
    "Authorization: Bearer {}",
    "curl -H 'Authorization: Bearer {}' http://127.0.0.1:4000/v1/models",
    "GET /v1/models x-api-key: {}",
    "Authorization: Basic {}",
    "redis://:{}@127.0.0.1:6379/0",
    "https://me:{}@example.invalid/v1",
    "http://127.0.0.1:4000/v1?api_key={}&model=m",
    "litellm --api-key {} --port 4000",
    "requirepass {}",
    "set-cookie: {}; Path=/",
    'client_secret = "{}"',
    "password: {} and more words",
    'aws_secret_access_key="{}", region="x"',
    "passphrase : {}",
]

READABLE = [
    "/home/me/.config/litellm/venv/bin/litellm --config /home/me/.config/litellm/config.yaml",
    "EnvironmentFile=/home/me/.config/lab-secrets/litellm.env",
    "ExecStart=:/usr/bin/litellm --host 127.0.0.1 --port 4000",
    "api_base: http://127.0.0.1:11434/v1",
    "https://api.openai.com/v1 http://[::1]:4000/v1 http://gateway.example.invalid:4000",
    'INFO:     127.0.0.1:53412 - "GET /v1/models HTTP/1.1" 200 OK',
    "- model_name: qwen2.5-coder:7b-instruct-q4_K_M",
    "model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct",
    "Llama-4-Maverick-17B-128E-Instruct-FP8 claude-sonnet-4-20250514 gpt-4o-mini-2024-07-18",
    "DeepSeek-R1-Distill-Qwen-32B-GGUF Qwen2.5-Coder-32B-Instruct-AWQ unsloth/gpt-oss-20b-GGUF",
    '"id": "custom:keyturn-qwen2.5-coder:7b",',
    "max_output_tokens: 16384",
    '"maxOutputTokens": 16384,',
    "master_key: os.environ/LITELLM_MASTER_KEY",
    '"apiKey": "${LITELLM_MASTER_KEY}",',
    "LITELLM_MASTER_KEY=<LITELLM_MASTER_KEY 1a2b3c4d>",
    "api_key: none",
    '"apiKey": "",',
    'sources = ["sops:secrets/global.enc.env#A_KEY", "keyring:keyturn#A_KEY", "env:A_KEY"]',
    "keyturn: the secrets of this lab could not be read",
    "LITELLM_LOCAL_MODEL_COST_MAP=True",
    "UnsetEnvironment=ANTHROPIC_API_KEY OPENAI_API_KEY",
    "2026-11-22T17:59:00.123456Z ERROR litellm.exceptions.AuthenticationError: refused",
    "ModuleNotFoundError: No module named 'prisma'",
    'File "/usr/lib/python3.11/site-packages/litellm/proxy/proxy_server.py", line 1234',
    "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 4000)",
    "provider: generic-chat-completion-api",
    "callbacks: keyturn_output_cap.handler",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
]

_URL_SAFE = string.ascii_letters + string.digits + "-_"


def random_text(seed: int, length: int, alphabet: str) -> str:
    """Return characters drawn as evenly as a key's are, and the same ones for the same seed."""
    digest = hashlib.shake_256(f"{seed} {length} {alphabet}".encode()).digest(4 * length)
    picks = (int.from_bytes(digest[i : i + 4]) for i in range(0, len(digest), 4))
    return "".join(alphabet[pick % len(alphabet)] for pick in picks)


@st.composite
def keys(draw: st.DrawFn) -> str:
    """Keys as programs make them: of 30 and more characters of some alphabet."""
    seed, length = draw(st.integers(0, 2**32)), draw(st.integers(32, 90))
    form = draw(st.sampled_from(["keyturn", "hex", "base36", "base62", "base64", "age", "url"]))
    if form == "keyturn":
        return "sk-" + random_text(seed, 43, _URL_SAFE)
    if form == "base64":
        return base64.b64encode(hashlib.sha512(str(seed).encode()).digest()).decode()
    if form == "age":
        return "AGE-SECRET-KEY-1" + random_text(seed, 58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")
    alphabet = {
        "hex": "0123456789abcdef",
        "base36": string.ascii_lowercase + string.digits,
        "base62": string.ascii_letters + string.digits,
        "url": _URL_SAFE,
    }[form]
    return random_text(seed, length, alphabet)


NEUTRAL = [
    "{}", "value {} there", "note: {}", '["{}"]', "('{}',)", "sha {}.", "x={}", "{}: x", "- {}",
    "Incorrect value provided: {}, see the log", "--master {} --port 4000", "<{}>", "http://x/?k={}",
]  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=4 * settings().max_examples)
@given(key=keys(), line=st.sampled_from(NEUTRAL + PLACES))
def test_a_random_key_is_never_shown_wherever_it_stands(key: str, line: str) -> None:
    shown = mask_unknown(line.format(key))
    pieces = {key[start : start + 16] for start in range(len(key) - 15)}
    assert not [piece for piece in pieces if piece in shown]


@pytest.mark.parametrize("line", PLACES)
def test_even_a_short_password_is_hidden_where_its_place_gives_it_away(line: str) -> None:
    shown = mask_unknown(line.format(SHORT))
    assert SHORT not in shown
    assert "<hidden>" in shown


@pytest.mark.parametrize("line", READABLE)
def test_what_people_need_to_read_stays(line: str) -> None:
    assert mask_unknown(line) == line


def test_the_rest_of_a_password_with_spaces_is_hidden_too() -> None:
    assert mask_unknown("password: correct horse battery") == "password: <hidden>"
    assert (
        mask_unknown('{"password": "correct \\" horse", "a": 1}')
        == '{"password": <hidden>, "a": 1}'
    )


def test_a_path_keeps_its_readable_parts() -> None:
    line = "open /home/me/k3Jd82LqPz0Xv7Bn/config.yaml"
    assert mask_unknown(line) == "open /home/me/<hidden>/config.yaml"


def test_an_endless_line_is_not_searched_but_hidden() -> None:
    assert mask_unknown("key" * 1_000_000) == "<3000000 characters hidden>"


def diff(
    found: bytes | None, wanted: bytes, *, env_file: bool = False, known: str = "sk-test-known"
) -> list[str]:
    """Return the lines of the difference; `known` is the one secret that is known."""
    return list(
        safe_diff(
            found, wanted, known=lambda t: t.replace(known, "<KEY 1a2b3c4d>"), env_file=env_file
        )
    )


class TestSafeDiff:
    def test_there_is_nothing_to_compare_a_new_file_with(self) -> None:
        assert diff(None, b"a\n") == []

    def test_equal_files_do_not_differ(self) -> None:
        assert diff(b"a\n", b"a\n") == []

    def test_changed_lines_are_shown_with_a_little_context(self) -> None:
        found = b"port: 1\nhost: a\n---\nend\n"
        assert diff(found, b"port: 2\nhost: a\n---\nend\n") == [
            "@@ -1,2 +1,2 @@", "-port: 1", "+port: 2", " host: a"
        ]  # fmt: skip

    def test_a_line_of_dashes_in_the_file_is_shown_too(self) -> None:
        assert diff(b"a\n-- b\n", b"a\n++ c\n")[-2:] == ["--- b", "+++ c"]

    def test_a_known_secret_shows_its_name(self) -> None:
        shown = diff(b"api_key: sk-test-unknown\n", b"api_key: sk-test-known\n")
        assert shown[1:] == ["-api_key: <hidden>", "+api_key: <KEY 1a2b3c4d>"]

    def test_where_only_hidden_values_differ_it_says_so(self) -> None:
        shown = diff(b"api_key: sk-test-one\n", b"api_key: sk-test-two\n")
        assert shown == ["(only what is hidden here differs)"]

    def test_of_an_env_file_no_value_is_shown_unless_known(self) -> None:
        found = (
            b"# our keys\nA=plain words\n# B=old\nexport C='<not a mask>'\n"
            b"sk-test-astray\n\nD=sk-test-known\n"
        )
        shown = diff(found, b"# written by keyturn\nD='sk-test-known'\n", env_file=True)
        assert shown[1:] == [
            "-# our keys", "-A=<hidden>", "-# B=<hidden>", "-export C=<hidden>", "-<hidden>", "-",
            "-D=<KEY 1a2b3c4d>", "+# written by keyturn", "+D='<KEY 1a2b3c4d>'",
        ]  # fmt: skip

    def test_control_characters_and_bytes_that_are_no_text_do_not_reach_the_terminal(self) -> None:
        shown = "".join(diff(b"a\x1b[31m\xff\tb\n", b""))
        assert shown.isprintable() or {c for c in shown if not c.isprintable()} == {"\t"}
        assert "\N{REPLACEMENT CHARACTER}" in shown

    def test_long_differences_are_cut_and_endless_files_not_compared(self) -> None:
        many = b"".join(b"line %d\n" % n for n in range(4000))
        assert len(diff(many, b"")) == 61
        assert diff(many, b"")[-1] == "…"
        assert diff(many * 2, b"a\n") == ["(8000 and 1 lines: too many to compare)"]
