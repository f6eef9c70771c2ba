"""A catalogue from elsewhere becomes entries of lab.toml, and a second time nothing."""

import tomllib
from pathlib import PurePath
from typing import Any

import pytest

from bootstrap.domain.backend_read import read_models, read_tags
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.found_models import Found, FoundKey, FoundModel, url_problem
from bootstrap.domain.lab_additions import Additions, additions, appended
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.litellm_read import read_catalogue, read_document
from bootstrap.domain.secret import Secret
from support.backend_answers import OLLAMA_NO_MODEL, OLLAMA_TAGS, VLLM_MODELS

ROOT = PurePath("/lab")
LAB = "version = 1\n"
KEY = "sk-test-provider-0123456789abcdef"


def found(text: str, **variables: str) -> Found:
    return read_catalogue(read_document(text.encode(), "c.yaml"), "c.yaml", variables.get)


def entry(alias: str, model: str, **params: object) -> dict[str, Any]:
    return {"model_name": alias, "litellm_params": {"model": model, **params}}


def read(*entries: dict[str, Any], **sections: Any) -> Found:
    return read_catalogue({"model_list": list(entries), **sections}, "c.yaml", lambda _: None)


def one(*entries: dict[str, Any]) -> FoundModel:
    (model,) = read(*entries).models
    return model


def added(what: Found, text: str = LAB, stored: dict[str, Secret] | None = None) -> Additions:
    return additions(text, ROOT, what, stored or {})


UNIFIED = """
model_list:
  - model_name: "qwen2.5-coder:7b"
    litellm_params: {model: "ollama_chat/qwen2.5-coder:7b", api_base: "http://localhost:11434"}
  - model_name: "qwen3-coder:480b-cloud"
    litellm_params:
      model: "ollama/qwen3-coder:480b-cloud"
      api_base: https://ollama.com
      api_key: os.environ/OLLAMA_API_KEY
    model_info: {max_input_tokens: 262144, max_output_tokens: 65536, supports_vision: true}
  - model_name: gguf
    litellm_params: {model: openai/qwen-gguf, api_base: http://127.0.0.1:8080/v1, api_key: none}
  - model_name: vllm
    litellm_params: {model: hosted_vllm/Qwen/Qwen2.5-7B, api_base: http://127.0.0.1:8000/v1}
litellm_settings:
  fallbacks: [{"qwen3-coder:480b-cloud": ["qwen2.5-coder:7b", gguf, vllm]}]
"""


def test_fallback_chains_across_local_cloud_llama_cpp_and_vllm_are_kept() -> None:
    more = added(found(UNIFIED, OLLAMA_API_KEY=KEY))
    lab = parse_lab(appended(LAB, more.text, ROOT), ROOT)
    models = {model.alias: model for model in lab.models}
    kinds = {alias: lab.backends[model.backend].kind for alias, model in models.items()}
    assert kinds == {
        "lab-echo": "echo",
        "qwen2.5-coder:7b": "ollama",
        "qwen3-coder:480b-cloud": "ollama-cloud",
        "gguf": "llama.cpp",
        "vllm": "vllm",
    }
    cloud = models["qwen3-coder:480b-cloud"]
    assert cloud.fallbacks == ("qwen2.5-coder:7b", "gguf", "vllm")
    assert (cloud.output_tokens, cloud.context_tokens, cloud.images) == (65536, 262144, True)
    assert models["vllm"].upstream == "Qwen/Qwen2.5-7B"
    assert more.store == {"OLLAMA_API_KEY": Secret(KEY)}
    assert more.left_out == ()


def test_a_literal_key_becomes_a_secret_and_stands_nowhere_in_the_text() -> None:
    what = read(entry("a", "openai/a", api_base="https://api.example.com/v1", api_key=KEY))
    more = added(what)
    assert more.store == {"EXAMPLE_API_KEY": Secret(KEY)}
    assert KEY not in more.text
    lab = parse_lab(appended(LAB, more.text, ROOT), ROOT)
    assert lab.backends["example"].key == "EXAMPLE_API_KEY"


def test_two_keys_at_one_host_are_two_backends_and_the_same_key_is_one() -> None:
    base = "https://api.example.com/v1"
    what = read(
        entry("a", "openai/a", api_base=base, api_key=KEY),
        entry("b", "openai/b", api_base=base, api_key=KEY),
        entry("c", "openai/c", api_base=base, api_key=f"{KEY}-other"),
    )
    more = added(what)
    assert more.backends == ("example", "example-2")
    assert list(more.store) == ["EXAMPLE_API_KEY", "EXAMPLE_2_API_KEY"]


def test_a_name_in_the_store_with_another_value_is_not_overwritten() -> None:
    what = read(entry("a", "openai/a", api_base="https://api.example.com/v1", api_key=KEY))
    more = added(what, stored={"EXAMPLE_API_KEY": Secret("sk-test-other")})
    assert list(more.store) == ["EXAMPLE_API_KEY_2"]
    again = added(what, stored={"EXAMPLE_API_KEY": Secret(KEY)})
    assert again.store == {}
    assert 'key = "EXAMPLE_API_KEY"' in again.text


def test_a_variable_that_is_not_set_makes_its_secret_optional() -> None:
    what = read(entry("a", "anthropic/claude-x", api_key="os.environ/ANTHROPIC_API_KEY"))
    more = added(what)
    assert more.missing == ("ANTHROPIC_API_KEY",)
    assert parse_lab(appended(LAB, more.text, ROOT), ROOT).secrets["ANTHROPIC_API_KEY"].optional


def test_a_variable_whose_value_the_store_has_otherwise_keeps_that_and_says_so() -> None:
    text = "model_list: [{model_name: a, litellm_params: {model: gpt-4o}}]"
    more = added(found(text, OPENAI_API_KEY=KEY), stored={"OPENAI_API_KEY": Secret("sk-test-o")})
    assert more.store == {}
    assert "the store had another value" in more.text


def test_a_second_import_changes_nothing() -> None:
    what = found(UNIFIED, OLLAMA_API_KEY=KEY)
    more = added(what)
    again = added(what, appended(LAB, more.text, ROOT), dict(more.store))
    assert (again.text, again.store, again.models) == ("", {}, ())
    assert again.kept == more.models


def test_a_further_model_of_a_known_backend_uses_that() -> None:
    first = added(read(entry("a", "openai/a", api_base="https://api.example.com/v1", api_key=KEY)))
    text = appended(LAB, first.text, ROOT)
    what = read(entry("b", "openai/b", api_base="https://api.example.com/v1/", api_key=KEY))
    more = added(what, text, dict(first.store))
    assert (more.backends, more.store) == ((), {})
    assert 'backend = "example"' in more.text


def test_what_is_there_keeps_its_bytes_and_its_line_ends() -> None:
    text = '# mine\r\nversion = 1\r\n[gateway]\r\nport = 4001 # "odd"'
    whole = appended(text, added(read(entry("a", "ollama/a"))).text, ROOT)
    assert whole.startswith(text + "\r\n")
    assert whole.count("\n") == whole.count("\r\n")
    assert parse_lab(whole, ROOT).gateway.port == 4001


def test_a_file_that_cannot_be_added_to_is_refused() -> None:
    text = 'version = 1\nmodels = [{alias = "x", backend = "echo"}]\n'
    more = added(read(entry("a", "ollama/a")), text)
    with pytest.raises(ConfigError) as caught:
        appended(text, more.text, ROOT)
    assert "[[models]]" in caught.value.fix


@pytest.mark.parametrize(
    ("model", "base", "kind"),
    [
        ("openai/x", None, "openai"),
        ("openai/x", "https://api.openai.com/v1", "openai"),
        ("openai/x", "http://localhost:8080/v1/", "llama.cpp"),
        ("openai/x", "http://127.0.0.1:8000/v1", "vllm"),
        ("openai/x", "http://192.0.2.1:9000/v1", "openai-compatible"),
        ("lm_studio/x", "http://127.0.0.1:1234/v1", "openai-compatible"),
        ("hosted_vllm/x", "http://192.0.2.1:9000/v1", "vllm"),
        ("hosted_vllm/x", "http://127.0.0.1:8080/v1", "llama.cpp"),
        ("llamafile/x", "http://127.0.0.1:9999/v1", "llama.cpp"),
        ("ollama/x", None, "ollama"),
        ("anthropic/x", None, "anthropic"),
        ("claude-3", None, "anthropic"),
    ],
)
def test_the_kind_of_a_backend_is_told_by_prefix_and_address(
    model: str, base: str | None, kind: str
) -> None:
    assert one(entry("a", model, **({"api_base": base} if base else {}))).kind == kind


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (entry("a", "groq/llama"), "no kind of backend for groq/"),
        (entry("a", "lm_studio/x"), "no kind of backend for lm_studio/"),
        (entry("a", "hosted_vllm/x"), "no kind of backend for hosted_vllm/"),
        (entry("*", "openai/*"), "characters that some client cannot send"),
        (entry("a", "ollama/a", api_base="http://u:pw@h/v1"), "a login, a query or a fragment"),
        (entry("a", "ollama/a", api_base="ftp://h"), "no http:// or https:// URL"),
        (entry("a", "ollama/a", api_base="http://[h"), "no http:// or https:// URL"),
        (entry("a", "ollama/a", api_base="os.environ/BASE"), "in the variable BASE"),
        (entry("a", "openai/\x1b"), "is not usable"),
        ({"model_name": "a"}, "no litellm_params.model"),
        ("text", "model_list[0]: it has no model_name"),
        (
            {**entry("a", "openai/a"), "model_info": {"mode": "embedding"}},
            "no chat model (mode embedding)",
        ),
    ],
)
def test_what_does_not_fit_is_named_without_a_value(broken: Any, why: str) -> None:
    what = read(broken)
    assert what.models == ()
    (line,) = what.left_out
    assert why in line
    assert "pw" not in line


def test_an_address_in_a_variable_is_looked_up() -> None:
    text = (
        "model_list: [{model_name: a, litellm_params: {model: ollama/a, api_base: os.environ/B}}]"
    )
    (model,) = found(text, B="http://192.0.2.7:11434/").models
    assert model.url == "http://192.0.2.7:11434"


def test_variables_in_the_config_itself_are_known() -> None:
    what = read(entry("a", "gpt-4o"), environment_variables={"OPENAI_API_KEY": KEY})
    assert what.models[0].key == FoundKey("OPENAI_API_KEY", Secret(KEY))


def test_a_server_that_was_sent_the_openai_key_by_accident_gets_none_and_it_is_said() -> None:
    model = one(entry("a", "openai/a", api_base="https://x.example.com/v1"))
    assert model.key is None
    assert "OPENAI_API_KEY" in model.notes[0]


def test_a_canned_answer_becomes_the_echo() -> None:
    more = added(read(entry("e", "openai/e", mock_response="hi", api_key="none")))
    assert 'backend = "echo"' in more.text
    assert more.backends == ()


def test_a_second_deployment_is_tried_next_and_listed_by_no_client() -> None:
    what = read(
        entry("a", "openai/a", api_base="https://one.example.com/v1"),
        entry("a", "openai/a", api_base="https://two.example.com/v1"),
        entry("a", "openai/a", api_base="https://one.example.com/v1"),
    )
    lab = parse_lab(appended(LAB, added(what).text, ROOT), ROOT)
    models = {model.alias: model for model in lab.models}
    assert models["a"].fallbacks == ("a-2",)
    assert models["a-2"].clients == ()
    assert len(what.models) == 2


def test_a_last_resort_stands_at_the_end_of_every_chain() -> None:
    what = read(
        entry("a", "ollama/a"),
        entry("b", "ollama/b"),
        litellm_settings={"default_fallbacks": ["b"]},
        router_settings={"fallbacks": [{"a": ["gone", "b"]}, "nonsense"], "num_retries": 2},
    )
    assert [model.fallbacks for model in what.models] == [("b",), ()]
    assert what.left_out == (
        "fallback to gone: there is no such model here",
        "router_settings.num_retries: lab.toml has no such setting",
    )


def test_settings_without_a_counterpart_are_named_and_their_values_are_not() -> None:
    what = read(
        entry("a", "ollama/a", rpm=7, extra_headers={"X": KEY}),
        litellm_settings={"callbacks": [KEY], "drop_params": True},
        general_settings={"master_key": KEY, "alerting": [KEY]},
        include=[KEY],
    )
    more = added(what)
    for name in (
        "litellm_params.rpm",
        "litellm_params.extra_headers",
        "litellm_settings.callbacks",
    ):
        assert name in more.text
    assert "general_settings.alerting" in more.text
    assert "include: lab.toml has no such setting" in more.text
    assert KEY not in more.text


CACHE = {"type": "redis", "host": "127.0.0.1", "port": 6380, "password": KEY}


def test_a_redis_cache_comes_along_where_the_lab_has_none() -> None:
    what = read(litellm_settings={"cache": True, "cache_params": CACHE})
    more = added(what)
    lab = parse_lab(appended(LAB, more.text, ROOT), ROOT)
    assert lab.redis is not None
    assert (lab.redis.host, lab.redis.port) == ("127.0.0.1", 6380)
    assert more.store == {"REDIS_PASSWORD": Secret(KEY)}
    assert added(what, LAB + "[redis]\nport = 6379\n").text == ""


def test_a_redis_cache_somewhere_unknown_is_left_out() -> None:
    cache = {"cache": True, "cache_params": {"type": "redis", "host": "os.environ/REDIS_HOST"}}
    assert read(litellm_settings=cache).redis is None
    assert "Redis" in read(litellm_settings=cache).left_out[0]


@pytest.mark.parametrize("port", ["\u00b2", "9" * 5000, "", "-1"])
def test_a_redis_port_that_is_no_number_is_left_out(port: str) -> None:
    cache = {"cache": True, "cache_params": {**CACHE, "port": port}}
    assert read(litellm_settings=cache).redis is None


@pytest.mark.parametrize("text", ["a: [", "- a", "model_list: {}", "\0"])
def test_what_is_no_litellm_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_document(text.encode(), "c.yaml")


def test_ollama_is_asked_for_its_tags() -> None:
    tags = {
        "models": [
            {"name": "qwen2.5-coder:7b", "details": {"family": "qwen2"}},
            {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
            {"name": "with space"},
            {"digest": "x"},
        ]
    }
    what = read_tags(tags, "http://127.0.0.1:11434", None)
    assert what is not None
    assert [model.alias for model in what.models] == ["qwen2.5-coder:7b"]
    assert len(what.left_out) == 2
    assert tomllib.loads(added(what).text)["backends"] == {"ollama": {"kind": "ollama"}}
    assert read_tags({"data": []}, "http://127.0.0.1:11434", None) is None


def test_ollama_says_what_its_models_can() -> None:
    what = read_tags(OLLAMA_TAGS, "http://127.0.0.1:11434", None)
    assert what is not None
    assert what.left_out == ("emb:latest: it is an embedding model",)
    assert {model.alias: model.images for model in what.models} == {
        "vis:latest": True,
        "Big/Model:Q4_K_M": False,
        "hf.co/me/tiny-GGUF:Q8_0": False,
        "qwen3:latest": False,
    }
    picture = {"models": [{"name": "flux", "capabilities": ["image", 7]}]}
    assert read_tags(picture, "http://h:1", None) == Found(
        "http://h:1", left_out=("flux: it writes no text",)
    )
    nothing = read_models(OLLAMA_NO_MODEL, "http://h:1/v1", None)
    assert nothing == Found("http://h:1/v1")


def test_vllm_says_its_names_and_how_much_it_takes() -> None:
    what = read_models(VLLM_MODELS, "http://127.0.0.1:8000/v1", None)
    assert what is not None
    found = [(m.alias, m.kind, m.context_tokens) for m in what.models]
    assert found == [("qwen", "vllm", 512), ("qwen-alias", "vllm", 512)]


def test_servers_of_openais_protocol_say_who_they_are() -> None:
    rows = [
        {"id": "/srv/models/qwen.Q4.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 32768}},
        {"id": "coder", "owned_by": "llamacpp", "meta": {"n_ctx": 1024, "n_ctx_train": 8192}},
        {"id": "routed.Q8_0", "owned_by": "llamacpp", "status": {"value": "unloaded"}},
        {"id": "Qwen/Q", "owned_by": "vllm", "max_model_len": 4096},
        {"id": "gpt-x", "owned_by": "someone"},
        {"id": "a b"},
        {"id": 7},
    ]
    key = FoundKey("MY_KEY", Secret(KEY))
    what = read_models({"data": rows}, "http://192.0.2.1:9/v1", key)
    assert what is not None
    assert [(m.alias, m.kind, m.context_tokens) for m in what.models] == [
        ("qwen.Q4", "llama.cpp", 32768),
        ("coder", "llama.cpp", 1024),
        ("routed.Q8_0", "llama.cpp", None),
        ("Qwen/Q", "vllm", 4096),
        ("gpt-x", "openai-compatible", None),
    ]
    assert what.models[0].upstream == "/srv/models/qwen.Q4.gguf"
    assert len(what.left_out) == 1
    assert read_models([], "http://192.0.2.1:9/v1", None) is None


def test_local_servers_and_odd_hosts_get_usable_names() -> None:
    for base, name in (
        ("http://127.0.0.1:9000/v1", "local-9000"),
        ("http://[::1]:9000/v1", "local-9000"),
        ("https://www.deepseek.com/v1", "deepseek"),
        ("https://1st.example.com/v1", "1st-example"),
    ):
        more = added(read(entry("a", "openai/a", api_base=base, api_key=KEY)))
        assert more.backends == (name,)
        assert next(iter(more.store)).isidentifier()
    assert url_problem("http://x/v1") is None


def test_a_variable_name_that_sops_would_not_protect_gets_another_one() -> None:
    what = read(entry("a", "anthropic/a", api_key="os.environ/KEY_unencrypted"))
    assert added(what).missing == ("ANTHROPIC_API_KEY",)


def test_a_model_that_got_another_alias_here_is_there_already() -> None:
    text = LAB + '[[models]]\nalias = "new"\nid = "old"\nbackend = "echo"\n'
    chain = [{"fresh": ["old"]}]
    more = added(read(entry("old", "ollama/x"), entry("fresh", "ollama/y"), fallbacks=chain), text)
    assert (more.models, more.kept) == (("fresh",), ("old",))
    assert parse_lab(appended(text, more.text, ROOT), ROOT).models[-1].fallbacks == ()


def test_a_second_deployment_takes_no_name_that_the_config_has() -> None:
    twins = [entry("a", "ollama/x"), entry("a", "ollama/y")]
    for rows in ([*twins, entry("a-2", "ollama/z")], [entry("a-2", "ollama/z"), *twins]):
        found_ = read(*rows)
        by_alias = {model.alias: (model.upstream, model.listed) for model in found_.models}
        assert by_alias == {"a": ("x", True), "a-3": ("y", False), "a-2": ("z", True)}


def test_odd_values_are_left_out_or_named_and_break_nothing() -> None:
    odd: dict[Any, Any] = {
        "model_name": "a",
        5: 6,
        "litellm_params": {"model": "ollama/x", 7: 8, None: 9},
    }
    cache = {"cache": True, "cache_params": {"host": "h", "port": "\u00b2"}}
    found_ = read(odd, {"model_name": ["b"]}, litellm_settings=cache)
    assert [model.alias for model in found_.models] == ["a"]
    assert found_.models[0].notes == ("not carried over: litellm_params.7, litellm_params.None",)
    assert found_.redis is None


REMOTE = {"api_base": "http://h:1/v1"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("os.environ/A B", "variable whose name is none"),
        ("os.environ/LITELLM_MASTER_KEY", "the lab's own LITELLM_MASTER_KEY"),
        ("os.environ/ODD_KEY", "a single quote"),
        ("${EXAMPLE_API_KEY}", "'${'"),
        ("sk-test-\ud800-0123456789", "a character outside ASCII"),
        ("sk-test-\n-0123456789", "a line break"),
        ("sk-test-\0-0123456789", "a line break"),
    ],
)
def test_a_key_that_no_backend_of_the_lab_can_have_leaves_its_model_out(
    raw: str, words: str
) -> None:
    variables = {"ODD_KEY": "sk-test-'-0123456789", "LITELLM_MASTER_KEY": KEY}.get
    cache = {"cache": True, "cache_params": {"host": "h", "port": 1, "password": raw}}
    document = {
        "model_list": [entry("a", "openai/x", api_key=raw, **REMOTE)],
        "litellm_settings": cache,
    }
    what = read_catalogue(document, "c.yaml", variables)
    assert (what.models, what.redis) == ((), None)
    assert [line.partition(":")[0] for line in what.left_out] == ["a", "the Redis cache"]
    assert all(words in line and "sk-test" not in line for line in what.left_out)


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "SSLKEYLOGFILE", "HTTPS_PROXY", "LITELLM_LOG"]
)
def test_a_key_under_the_name_of_a_setting_gets_another(name: str) -> None:
    row = entry("a", "openai/x", api_key=f"os.environ/{name}", **REMOTE)
    document = {"model_list": [row], "environment_variables": {name: KEY}}
    more = added(read_catalogue(document, "c.yaml", lambda _: None))
    assert more.store == {"H_API_KEY": Secret(KEY)}
    assert name not in more.text


def test_a_name_that_a_backend_gives_twice_is_one_model() -> None:
    tags = read_tags({"models": [{"name": "a"}, {"name": "a"}]}, "http://h:1", None)
    rows = [{"id": "/one/m.gguf"}, {"id": "/two/m.gguf"}]
    listed = read_models({"data": rows}, "http://h:1/v1", None)
    assert tags is not None
    assert listed is not None
    for what, name, left in ((tags, "a", "a"), (listed, "m", "/two/m.gguf")):
        assert [model.alias for model in what.models] == [name]
        assert what.left_out == (f"{left}: another model has that name",)
        assert added(what).models == (name,)


@pytest.mark.parametrize(
    "name",
    ["\ud800/m.gguf", "\x7f/m.gguf", "\x1b[31m/m.gguf", "os.environ/HOME", "os.environ/a/m.gguf"],
)
def test_a_name_that_no_lab_file_can_hold_stops_no_other_model(name: str) -> None:
    what = read_models({"data": [{"id": name}, {"id": "good"}]}, "http://h:1/v1", None)
    assert what is not None
    assert added(what).models == ("good",)
    assert len(what.left_out) == 1
    assert what.left_out[0].isprintable()


def test_a_name_that_litellm_would_look_up_stops_no_other_model() -> None:
    rows = [
        {"model_name": name, "litellm_params": {"model": model}}
        for name, model in (("os.environ/A", "ollama/x"), ("b", "ollama/os.environ/X"))
    ]
    found_ = read(*rows, {"model_name": "good", "litellm_params": {"model": "ollama/x"}})
    assert added(found_).models == ("good",)
