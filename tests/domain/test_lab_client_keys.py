"""`client_keys` and `[rotate]` in lab.toml, and what they make of the lab."""

from pathlib import PurePath

import pytest

from bootstrap.domain.errors import ConfigError
from bootstrap.domain.exec_settings import from_text, parse_exec_settings, to_text
from bootstrap.domain.grace import Grace
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.keyset_change import keys_that_change
from bootstrap.domain.lab import Lab
from bootstrap.domain.lab_keys import with_lab_keys, with_lab_overlap
from bootstrap.domain.labfile import parse_lab, parse_toml
from bootstrap.domain.rotatable import Kind, kind_of, rotated_by_all
from bootstrap.domain.secret import Secret
from support.keysets import accepts

OLD, NEW = Secret("sk-test-old-key"), Secret("sk-test-new-key")
NOW = 1_800_000_000.0


def lab(text: str) -> Lab:
    return parse_lab("version = 1\n" + text, PurePath("/srv/lab"))


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        lab(text)
    return f"{caught.value.what}: {caught.value.why}; {caught.value.fix}"


class TestLabFile:
    def test_without_it_every_client_sends_the_master_key(self) -> None:
        found = lab("")
        assert found.client_keys == ()
        assert found.key_name("droid") == "LITELLM_MASTER_KEY"

    def test_it_gives_every_client_a_key_under_a_name_of_its_own(self) -> None:
        found = lab('client_keys = true\n[clients."my.tool"]\nkey = ["K"]\n')
        assert {key.client: key.secret for key in found.client_keys} == {
            "claude": "KEYTURN_CLIENT_KEY_CLAUDE",
            "droid": "KEYTURN_CLIENT_KEY_DROID",
            "openai": "KEYTURN_CLIENT_KEY_OPENAI",
            "openwebui": "KEYTURN_CLIENT_KEY_OPENWEBUI",
            "my.tool": "KEYTURN_CLIENT_KEY_MY_TOOL",
        }
        assert kind_of(found, "KEYTURN_CLIENT_KEY_DROID") is Kind.CLIENT
        assert "KEYTURN_CLIENT_KEY_DROID" in rotated_by_all(found)

    def test_a_client_alone_and_a_client_left_out(self) -> None:
        alone = lab("[clients.openwebui]\nclient_keys = true\n")
        assert [key.client for key in alone.client_keys] == ["openwebui"]
        rest = lab("client_keys = true\n[clients.openai]\nclient_keys = false\n")
        assert "openai" not in {key.client for key in rest.client_keys}

    def test_its_scope_is_what_the_client_sees(self) -> None:
        model = '[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droid"]\n'
        found = lab("client_keys = true\n" + model)
        scopes = {key.client: found.scope(key) for key in found.client_keys}
        assert scopes["droid"] == scopes["openai"] == ("lab-echo", "a")
        assert scopes["claude"] == scopes["openwebui"] == ("lab-echo",)

    def test_it_is_kept_where_the_master_key_is(self) -> None:
        sources = 'sources = ["sops:a.enc.env#M", "env:M", "file:/run/m"]'
        found = lab(f"client_keys = true\n[secrets.LITELLM_MASTER_KEY]\n{sources}\n")
        spec = found.secrets["KEYTURN_CLIENT_KEY_DROID"]
        name = "KEYTURN_CLIENT_KEY_DROID"
        assert [str(ref) for ref in spec.sources] == [f"sops:a.enc.env#{name}", f"env:{name}"]
        assert spec.optional

    def test_or_where_the_lab_says(self) -> None:
        text = '[secrets.KEYTURN_CLIENT_KEY_DROID]\nsources = ["sops:b.enc.env#D"]\n'
        spec = lab("client_keys = true\n" + text).secrets["KEYTURN_CLIENT_KEY_DROID"]
        assert ([str(ref) for ref in spec.sources], spec.optional) == (["sops:b.enc.env#D"], True)

    def test_exec_knows_the_names_too_and_remembers_them(self) -> None:
        document = parse_toml("version = 1\nclient_keys = true\n")
        settings = from_text(to_text(parse_exec_settings(document, "lab.toml")))
        assert settings.specs["KEYTURN_CLIENT_KEY_OPENAI"].optional

    def test_what_cannot_be_is_refused(self) -> None:
        assert "client_keys" in refused('client_keys = true\n[gateway]\nauth = "master-key"\n')
        assert "client_keys" in refused('client_keys = "yes"\n')
        assert "clients.droid.client_keys" in refused("[clients.droid]\nclient_keys = 1\n")
        same = '[clients."a.b"]\nkey = ["K"]\n[clients.a_b]\nkey = ["K"]\n'
        assert "KEYTURN_CLIENT_KEY_A_B" in refused("client_keys = true\n" + same)

    def test_a_file_path_alone_gives_no_place_for_a_client(self) -> None:
        text = '[secrets.LITELLM_MASTER_KEY]\nsources = ["file:/run/m"]\n'
        spec = lab("client_keys = true\n" + text).secrets["KEYTURN_CLIENT_KEY_DROID"]
        assert str(spec.sources[0]).startswith("sops:secrets/")

    def test_the_grace_time_and_the_hook_of_a_rotation(self) -> None:
        found = lab('[rotate]\ngrace = "until-unused:8h"\nafter = ["a", "b c"]\n').rotate
        assert (found.grace, found.after) == (Grace(28800.0, 600.0), ("a", "b c"))
        assert (lab("").rotate.grace, lab("").rotate.after) == (None, ())
        assert "rotate.grace" in refused('[rotate]\ngrace = "soon"\n')
        assert "rotate.after" in refused('[rotate]\nafter = "a b"\n')


class TestKeyset:
    def test_a_key_that_changes_or_goes_is_accepted_for_a_while(self) -> None:
        first = with_lab_keys(Keyset(), {"droid": (OLD, ["a"])}, NOW + 600, NOW)
        second = with_lab_keys(first, {"droid": (NEW, ["b"])}, NOW + 600, NOW)
        assert [accepts(second, key, NOW) for key in (OLD, NEW)] == [True, True]
        assert [accepts(second, key, NOW + 601) for key in (OLD, NEW)] == [False, True]
        assert [e.id for e in second.replaced()] == ["lab-droid-previous"]
        gone = with_lab_keys(second, {}, NOW + 700, NOW)
        assert [(e.id, e.sha256, e.not_after) for e in gone.entries] == [
            ("lab-droid-previous", NEW.digest(), NOW + 700)
        ]

    def test_issued_and_master_keys_stay(self) -> None:
        keys = Keyset().with_current(OLD).with_client("droid", NEW, None, None)
        after = with_lab_keys(keys, {"droid": (Secret("sk-test-third"), ["a"])}, NOW, NOW)
        assert {e.id for e in after.entries} == {"master", "client-droid", "lab-droid"}
        assert after.replaced() == ()

    def test_an_overlap_keeps_the_models_and_ends_as_told(self) -> None:
        keys = with_lab_keys(Keyset(), {"droid": (OLD, ["a"])}, NOW, NOW)
        both = with_lab_overlap(keys, "droid", NEW, OLD, NOW + 60)
        assert {e.models for e in both.entries} == {("a",)}
        assert [accepts(both, key, NOW) for key in (OLD, NEW)] == [True, True]
        assert accepts(with_lab_overlap(both, "droid", OLD, NEW), OLD, NOW + 999)
        alone = with_lab_overlap(both, "droid", NEW, None)
        assert [e.id for e in alone.entries] == ["lab-droid"]
        assert with_lab_overlap(alone, "droid", NEW, NEW) == alone
        assert with_lab_overlap(Keyset(), "droid", NEW, OLD) == Keyset()

    def test_an_overlap_that_was_left_open_is_no_grace_time(self) -> None:
        keys = with_lab_keys(Keyset(), {"droid": (OLD, ["a"])}, NOW, NOW)
        left = with_lab_overlap(keys, "droid", NEW, OLD)
        assert with_lab_keys(left, {"droid": (NEW, ["a"])}, NOW, NOW).replaced() == ()

    def test_what_changes_is_said_by_name_scope_and_fingerprint(self) -> None:
        before = with_lab_keys(Keyset().with_current(OLD), {}, NOW, NOW)
        after = with_lab_keys(before, {"droid": (NEW, ["b", "a"])}, NOW, NOW)
        line = f"+ droid ({NEW.fingerprint()}): a, b"
        assert keys_that_change(before.to_bytes(), after.to_bytes()) == (line,)
        ended = with_lab_keys(after, {}, NOW + 60, NOW)
        assert keys_that_change(after.to_bytes(), ended.to_bytes()) == (
            f"- droid ({NEW.fingerprint()}): a, b",
            f"+ droid ({NEW.fingerprint()}, for a while): a, b",
        )
        assert keys_that_change(b"{", after.to_bytes()) == ("it is damaged, and is written anew",)
