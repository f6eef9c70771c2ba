"""lab.toml: what it may say, and how each mistake is named."""

import re
from pathlib import PurePath

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.grace import Grace
from bootstrap.domain.lab import ECHO_ALIAS, Lab
from bootstrap.domain.lab_sample import LAB
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.secret_spec import GENERATED, MASTER_KEY

ROOT = PurePath("/labs/mine")
FULL = """
version = 1
profile = "local"

[gateway]
port = 4010
service = "supervisor"

[secrets.OPENAI_API_KEY]
sources = ["env:OPENAI_API_KEY"]
optional = true
[secrets.REDIS_PASSWORD]

[backends.ollama]
kind = "ollama"
[backends.cloud]
kind = "openai-compatible"
url = "https://models.example/v1/"
key = "OPENAI_API_KEY"

[[models]]
alias = "qwen2.5-coder:7b"
backend = "ollama"
fallbacks = ["big", "lab-echo"]
[[models]]
alias = "big"
backend = "cloud"
upstream = "vendor/big"
display_name = "Big one"
output_tokens = 4096
clients = ["droid"]

[profiles]
local = ["lab-echo", "qwen2.5-coder:7b"]

[redis]
password = "REDIS_PASSWORD"
port = 6380

[targets]
envrc = false

[exec]
secrets = ["LITELLM_MASTER_KEY", "OPENAI_API_KEY"]
"""


def lab(text: str, profile: str | None = None) -> Lab:
    return parse_lab(text, ROOT, profile)


@pytest.mark.parametrize(
    ("context", "tokens"), [(512, 256), (8192, 4096), (32768, 16384), (262144, 16384), (1, 1)]
)
def test_half_of_a_small_context_is_for_the_answer(context: int, tokens: int) -> None:
    text = '[[models]]\nalias = "a"\nbackend = "echo"\n'
    model = lab(f"version = 1\n{text}context_tokens = {context}\n").models[-1]
    assert (model.context_tokens, model.output_tokens) == (context, tokens)
    own = lab(f"version = 1\n{text}context_tokens = {context}\noutput_tokens = 9\n").models[-1]
    assert own.output_tokens == 9


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        lab(text)
    return caught.value


def test_an_empty_file_is_a_lab_with_the_echo_model_and_the_generated_keys() -> None:
    found = lab("")
    assert [m.alias for m in found.models] == [ECHO_ALIAS]
    assert set(found.secrets) == set(GENERATED)
    assert found.gateway.url == "http://127.0.0.1:4000"
    assert found.file == ROOT / "lab.toml"


def test_the_sample_that_init_writes_is_a_lab_also_with_every_comment_taken_away() -> None:
    text = LAB.format(port=4321, version="1.106.2")
    assert lab(text).gateway.port == 4321
    options = re.compile(r'# (\[|\w+ = |           *"env:)')
    uncommented = "\n".join(
        line.removeprefix("# ") if options.match(line) else line for line in text.splitlines()
    )
    found = lab(uncommented)
    assert found.redis is None or found.models
    assert {"ollama", "openai"} <= set(found.backends)
    assert found.switches.droid_key_helper
    assert "TOOL_KEY={{ secrets.LITELLM_MASTER_KEY | dotenv }}" in text


def test_everything_that_the_file_says_arrives() -> None:
    found = lab(FULL)
    assert [m.alias for m in found.models] == ["lab-echo", "qwen2.5-coder:7b"]
    assert found.models[1].fallbacks == ("lab-echo",)
    assert found.profile == "local"
    assert found.gateway.port == 4010
    assert found.backends["cloud"].url == "https://models.example/v1"
    assert found.redis is not None
    assert (found.redis.host, found.redis.port, found.redis.password) == (
        "127.0.0.1", 6380, "REDIS_PASSWORD",
    )  # fmt: skip
    assert not found.switches.envrc
    assert found.exec_names == (MASTER_KEY, "OPENAI_API_KEY")
    assert found.secrets["OPENAI_API_KEY"].optional
    assert [str(s) for s in found.secrets["REDIS_PASSWORD"].sources] == [
        "sops:secrets/global.enc.env#REDIS_PASSWORD", "keyring:keyturn#REDIS_PASSWORD",
        "env:REDIS_PASSWORD",
    ]  # fmt: skip
    assert found.provider_keys() == ("REDIS_PASSWORD",)
    everything = lab(FULL.replace('profile = "local"', ""))
    assert everything.provider_keys() == ("OPENAI_API_KEY", "REDIS_PASSWORD")
    assert lab(FULL.replace('profile = "local"', ""), "local").profile == "local"


def test_models_without_their_optional_key_are_left_out_and_so_are_fallbacks_to_them() -> None:
    found = lab(FULL.replace('profile = "local"', "")).with_secrets({MASTER_KEY})
    assert [m.alias for m in found.models] == ["lab-echo", "qwen2.5-coder:7b"]
    assert found.models[1].fallbacks == ("lab-echo",)


def test_the_echo_model_can_be_switched_off() -> None:
    assert lab("echo = false").models == ()


def test_an_ipv6_or_wildcard_host_gives_a_url_that_clients_can_use() -> None:
    assert lab('[gateway]\nhost = "::1"').gateway.url == "http://[::1]:4000"
    assert lab('[gateway]\nhost = "0.0.0.0"').gateway.url == "http://127.0.0.1:4000"


BAD = [
    ("version = 2", "version", "upgrade"),
    ("zzzzz = 1", "zzzzz", "use one of"),
    ('profil = "x"', "profil", "did you mean profile?"),
    ("[gateway]\nprot = 4000", "gateway.prot", "did you mean port?"),
    ("[gateway]\nport = 0", "gateway.port", "choose 1 to 65535"),
    ("[gateway]\nport = true", "gateway.port", "a whole number"),
    ('[gateway]\nport = "4000"', "gateway.port", "a whole number"),
    ('[gateway]\nhost = "a b"', "gateway.host", "127.0.0.1"),
    ('[gateway]\nhost = ""', "gateway.host", "text in quotes"),
    *(
        (f'[gateway]\nhost = "{host}"', "gateway.host", "127.0.0.1")
        for host in ("127.0.0.1:80", "-x", "é", "300.0.0.1", "[::1]", "a..b", "fe80::1%eth0")
    ),
    ('[gateway]\nlitellm_version = "--pre"', "gateway.litellm_version", "1."),
    ('[redis]\nhost = "redis:6379"', "redis.host", "127.0.0.1"),
    ('[gateway]\nservice = "systemdd"', "gateway.service", "did you mean systemd?"),
    ('[gateway]\nlitellm_version = "1; rm"', "gateway.litellm_version", "1.106.2"),
    ('gateway = "x"', "gateway", "a table"),
    ('[backends.echo]\nkind = "ollama"', "backends.echo", "another name"),
    ('[backends.a]\nkind = "olama"', "backends.a.kind", "did you mean ollama?"),
    ('[backends.a]\nkind = "openai-compatible"', "backends.a.url", "url ="),
    ('[backends.a]\nkind = "ollama"\nurl = "localhost:1"', "backends.a.url", "http://"),
    ('[backends.a]\nkind = "ollama"\nurl = "http://h:99999"', "backends.a.url", "http://"),
    ('[backends.a]\nkind = "ollama"\nurl = "http://u:p@h"', "backends.a.url", "[secrets]"),
    ('[backends.a]\nkind = "openai"', "backends.a.key", "[secrets]"),
    ('[backends.a]\nkind = "openai"\nkey = "NOPE"', "backends.a.key", "[secrets.NOPE]"),
    ('[backends.a]\nkind = "openai"\nkey = "LITELLM_MASTER_KEYS"', "backends.a.key",
     "did you mean LITELLM_MASTER_KEY?"),
    ('[backends]\na = 1', "backends.a", "a table"),
    ('[[models]]\nalias = "a"\nbackend = "ech"', "models[0].backend", "did you mean echo?"),
    ('[[models]]\nbackend = "echo"', "models[0].alias", "text in quotes"),
    ('[[models]]\nalias = "os.environ/A"\nbackend = "echo"', "models[0].alias", "calls the model"),
    ('[[models]]\nalias = "a b"\nbackend = "echo"', "models[0].alias", "letters"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\ndisplay_name = "a\\u0007"',
     "models[0].display_name", "remove"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droyd"]', "models[0].clients",
     "did you mean droid?"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nclients = [1]', "models[0].clients", '["a", "b"]'),
    ('[[models]]\nalias = "lab-echo"\nbackend = "echo"', "models[0].alias", "rename"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nid = "a b"', "models[0].id", "letters"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nid = "b"\n'
     '[[models]]\nalias = "b"\nbackend = "echo"', "models[1].id", "another id"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nid = "lab-echo"', "models[0].id", "another id"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nfallbacks = ["a"]', "models[0].fallbacks",
     "remove"),
    ('[[models]]\nalias = "a"\nbackend = "echo"\nfallbacks = ["lab-eco"]', "models[0].fallbacks",
     "did you mean lab-echo?"),
    ("models = [1]", "models", "[[models]]"),
    ('profile = "x"', "profile", "[profiles]"),
    ('profile = "loca"\n[profiles]\nlocal = []', "profile", "did you mean local?"),
    ('[profiles]\nlocal = ["lab-ech"]', "profiles.local", "did you mean lab-echo?"),
    ('[redis]\npasword = "X"', "redis.pasword", "host, port, password"),
    ('[redis]\npassword = "NOPE"', "redis.password", "[secrets.NOPE]"),
    ("[targets]\nenvrc = 1", "targets.envrc", "true or false"),
    ("secrets = 1", "secrets", "[secrets.NAME]"),
    ("[secrets]\nA = 1", "secrets.A", "[secrets.A]"),
    ("[secrets.sops_x]", "secrets.sops_x", "rename"),
    ("[secrets.A]\nsource = []", "secrets.A.source", "sources"),
    ("[secrets.A]\nsources = []", "secrets.A.sources", "env:A"),
    ('[secrets.A]\nsources = ["A"]', "secrets.A.sources", "sops:FILE#NAME"),
    ('[secrets.A]\noptional = "yes"', "secrets.A.optional", "optional = true"),
    ("[exec]\nsecrets = 1", "exec.secrets", "LITELLM_MASTER_KEY"),
    ('[exec]\nsecrets = ["NOPE"]', "exec.secrets", "[secrets.NOPE]"),
    ('[exec]\nsecret = ["X"]', "exec.secret", "did you mean secrets?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "fix"), BAD, ids=[row[1] + row[0][-12:] for row in BAD])
def test_a_mistake_is_named_by_its_key_path_with_a_way_out(text: str, path: str, fix: str) -> None:
    error = refused(text)
    assert f"lab.toml: {path}" in error.what + " "
    assert fix in error.fix


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = ", "line 1"),
        ("[gateway\nport = 1", "line 1"),
        ('a = 1\na = 2', "given twice"),
        ("[a]\n[a]", "there twice"),
        ('key = "sk-test-pasted-0123456789', "line 1"),
        ("a = " + "[" * 3000 + "]" * 3000, "too deeply"),
        ("a = " + "1" * 5000, "thousands of digits"),
    ],
)  # fmt: skip
def test_broken_toml_is_placed_by_its_line_and_not_quoted(text: str, words: str) -> None:
    error = refused(text)
    assert words in error.why
    assert "pasted" not in f"{error} {error.fix}"


def test_a_key_pasted_where_a_secrets_name_belongs_is_not_echoed() -> None:
    error = refused('[backends.a]\nkind = "openai"\nkey = "sk-test-pasted-0123456789"')
    assert "NAME" in error.why
    assert "pasted" not in f"{error} {error.fix}"


@pytest.mark.parametrize(
    ("gateway", "held"),
    [
        ("", "127.0.0.1:4000"),
        ('host = "localhost"\nport = 4100', "127.0.0.1:4100"),
        ('host = "::1"', "[::1]:4000"),
        ('host = "lab.example"', None),
        ('socket = "never"', None),
        ('command = "litellm"', None),
        ('command = "litellm"\nsocket = "always"', "127.0.0.1:4000"),
    ],
)
def test_the_manager_holds_the_port_where_the_program_can_take_it_over(
    gateway: str, held: str | None
) -> None:
    lab = parse_lab(f"[gateway]\n{gateway}\n", PurePath("/lab"))
    assert lab.gateway.held == held


def test_a_socket_for_a_host_name_is_refused() -> None:
    text = '[gateway]\nhost = "lab.example"\nsocket = "always"\n'
    with pytest.raises(ConfigError, match=r"gateway\.socket"):
        parse_lab(text, PurePath("/lab"))


class TestRotate:
    def parsed(self, text: str) -> Lab:
        return parse_lab(f"version = 1\n{text}", ROOT)

    def test_how_the_key_is_rotated(self) -> None:
        default = self.parsed("").rotate
        assert (default.grace, default.restart) == (None, "auto")
        chosen = self.parsed('[rotate]\ngrace = "90s"\nrestart = "always"\n').rotate
        assert (chosen.grace, chosen.restart) == (Grace(90.0), "always")

    def test_a_gateway_that_must_restart_cannot_be_told_not_to(self) -> None:
        text = '[gateway]\nauth = "master-key"\n[rotate]\nrestart = "never"\n'
        with pytest.raises(ConfigError, match=r"rotate\.restart") as caught:
            self.parsed(text)
        assert "only when it starts" in caught.value.why


@pytest.mark.parametrize(
    "text",
    [
        'profile = "sk-test-pasted-0123456789"',
        '[profiles]\nlocal = ["lab-echo", "sk-test-pasted-0123456789"]',
        '[[models]]\nalias = "a"\nbackend = "echo"\nfallbacks = ["sk-test-pasted-0123456789"]',
    ],
)
def test_a_key_pasted_where_a_name_belongs_is_not_repeated(text: str) -> None:
    error = refused(text)
    assert "sk-test" not in f"{error.what} {error.why} {error.fix}"
