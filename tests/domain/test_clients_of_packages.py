"""What a lab makes of a client that a package brings."""

from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.domain.client import HELPER, LITERAL, VARIABLE, ClientFile, Preset, Setup, Way
from bootstrap.domain.client_effects import Effort, effects
from bootstrap.domain.client_presets import choose, parse_presets
from bootstrap.domain.client_ways import chosen_way, client_context, settled
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.domain.key_paths import parsed, value_at
from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab, parse_toml
from bootstrap.domain.secret import Secret
from bootstrap.domain.table import Table
from bootstrap.domain.targets import Target, targets
from bootstrap.domain.validate import validate
from support.fakes import make_places

FILE = ClientFile("zed-settings", "config", "zed/settings.json", "zed/settings.json.j2", "json")
HELPED = Way(HELPER, FILE.name, None, "at once", "no key at rest", reloads=True)
OUTSIDE = Way(VARIABLE, None, None, "later", "no key at rest", {"ZED": "{file}"}, "ZED_KEY")
WRITTEN = Way(LITERAL, FILE.name, None, "at its next start", "the key stands there")
SETUP = Setup("Zed", "zed", (), (HELPED, OUTSIDE, WRITTEN), LITERAL, (), (FILE,))
ZED = Preset("zed", key=("ZED_KEY",), setup=SETUP)
ON = "[clients.zed]\nset_up = true\n"


def brought(name: str) -> Preset | None:
    return ZED if name == "zed" else None


def lab(more: str = ON, preset: Preset = ZED) -> Lab:
    def bring(name: str) -> Preset | None:
        return preset if name == "zed" else None

    return parse_lab(f"version = 1\n{more}", PurePath("/lab"), brought=bring)


def own(of: Lab, home: Path = Path("/home/me")) -> list[Target]:
    return [t for t in targets(of, make_places(home), "systemd") if t.client == "zed"]


def test_its_file_is_there_where_the_lab_sets_it_up_and_its_way_names_it() -> None:
    (file,) = own(lab())
    assert (file.name, file.path.name, file.mode, file.secret) == (
        "zed-settings",
        "settings.json",
        0o600,
        False,
    )
    assert own(lab('[clients.zed]\nhand_over = "literal"\n'))[0].secret
    assert own(lab('[clients.zed]\nhand_over = "variable"\n')) == []
    assert own(lab("[clients.zed]\nttl = '1h'\n")) == []
    assert own(lab("")) == []


def test_the_best_way_is_one_that_needs_nothing_in_the_environment() -> None:
    assert chosen_way("zed", SETUP, lab())[0] == HELPED
    without = replace(SETUP, ways=(OUTSIDE, WRITTEN))
    assert chosen_way("zed", without, lab())[0] == WRITTEN
    assert chosen_way("zed", SETUP, lab("")) == (None, "[clients.zed] set_up is not true")


def test_what_depends_on_a_version_is_settled_with_it() -> None:
    ways = (replace(HELPED, since="2.0", does="runs it"), WRITTEN)
    of = lab(preset=replace(ZED, setup=replace(SETUP, ways=ways)))
    assert settled(of, lambda _: "1.9").ways == {"zed": "literal"}
    assert own(settled(of, lambda _: "1.9"))[0].secret
    assert settled(of, lambda _: "2.0").ways == settled(of, lambda _: "").ways == {}


def test_its_template_sees_its_own_key_and_no_other_secret() -> None:
    of = lab("client_keys = true\n" + ON)
    secrets = {"LITELLM_MASTER_KEY": Secret("m"), "KEYTURN_CLIENT_KEY_ZED": Secret("z")}
    values = client_context(of, "zed", secrets, "keyturn get")
    assert values["client_key"] == Secret("z")
    assert [v for v in values.values() if isinstance(v, Secret)] == [Secret("z")]
    assert values["client_way"] == "helper"


def test_a_file_without_what_its_reader_needs_is_refused() -> None:
    file = replace(own(lab())[0], needs=("server.url", "models.0"))
    whole = b'{"server": {"url": "u"}, "models": ["a"]}'
    validate(file, whole, lab(), frozenset())
    for data in (
        b"{}",
        b'{"server": "u", "models": []}',
        b'{"server": {"url": ""}, "models": [1]}',
    ):
        with pytest.raises(ConfigError, match="would not work"):
            validate(file, data, lab(), frozenset())
    env = replace(file, check="env", needs=("A",))
    validate(env, b"A=1\n", lab(), frozenset())
    with pytest.raises(ConfigError, match="would not work"):
        validate(env, b"B=1\n", lab(), frozenset())
    with pytest.raises(ConfigError) as caught:
        validate(replace(file, check="toml"), b"= 'sk-test-x'", lab(), frozenset())
    assert caught.value.why == "not TOML"


def test_a_key_path_leads_through_json_toml_and_yaml() -> None:
    assert value_at("json", b'{"a": [{"b": 1}]}', "a.0.b") == 1
    assert value_at("toml", b"a.b = 'x'", "a.b") == "x"
    assert value_at("yaml", b"a:\n  - b\n", "a.0") == "b"
    for data, path in ((b"{", "a"), (b'{"a": 1}', "a.b"), (b"[]", "0")):
        assert value_at("json", data, path) is None
    assert parsed("yaml", b"a: [") is None


def test_two_files_in_one_place_are_refused() -> None:
    taken = replace(FILE, base="secrets", path="litellm.env")
    of = lab(preset=replace(ZED, setup=replace(SETUP, files=(taken,))))
    with pytest.raises(ConfigError, match="is rendered twice") as caught:
        own(of)
    assert "the client zed of a package" in caught.value.why


def test_a_rotation_says_what_it_needs_by_how_it_learns() -> None:
    def efforts(of: Lab, *names: str) -> dict[str, Effort]:
        return {
            e.client: e.effort for e in effects(of, "keyturn", names or ("LITELLM_MASTER_KEY",))
        }

    assert efforts(lab())["Zed"] is Effort.NOTHING
    assert efforts(lab('[clients.zed]\nhand_over = "literal"\n'))["Zed"] is Effort.RESTART
    keyed = lab("client_keys = true\n" + ON)
    assert efforts(keyed)["zed"] is Effort.NOTHING
    assert efforts(keyed, "KEYTURN_CLIENT_KEY_ZED") == {"Zed": Effort.NOTHING}


def table(more: str) -> Table:
    return Table(parse_toml(f"version = 1\n{more}"), "", "lab.toml")


def test_a_lab_changes_it_or_starts_from_it() -> None:
    more = '[clients.zed]\nagent = true\n[clients.mine]\nlike = "zed"\nremove = ["X"]\n'
    presets = parse_presets(table(more), brought)
    assert presets["zed"].agent
    assert presets["zed"].setup == SETUP
    assert (presets["mine"].key, presets["mine"].remove, presets["mine"].setup) == (
        ("ZED_KEY",),
        ("X",),
        None,
    )
    assert choose({}, "zed", brought) == ZED
    with pytest.raises(UsageError, match="there is no client other"):
        choose(presets, "other", brought)
    with pytest.raises(ConfigError, match=r"clients\.mine\.like"):
        parse_presets(table('[clients.mine]\nlike = "zet"\n'), brought)


def test_where_one_client_matters_the_packages_of_the_others_are_left_alone() -> None:
    def refuse(name: str) -> Preset | None:
        raise AssertionError(name)

    more = ON + '[clients.mine]\nlike = "zed"\n[clients.tool]\nkey = ["K"]\n'
    for only in ("", "claude"):
        presets = parse_presets(table(more), refuse, only)
        assert presets.keys() - {"droid", "claude", "openai", "openwebui"} == {"tool"}
