"""Homes, the clock, the state file and the templates of this machine."""

import json
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import machine
from bootstrap.adapters.machine import JsonState, SystemClock, TemplateFolder, places
from bootstrap.domain.errors import ConfigError, TargetError


class TestPlaces:
    def test_without_xdg_everything_is_below_home(self) -> None:
        found = places({"HOME": "/home/me"})
        assert found.config == PurePath("/home/me/.config")
        assert found.state == PurePath("/home/me/.local/state")
        assert found.cache == PurePath("/home/me/.cache")
        assert found.factory == PurePath("/home/me/.factory")
        assert found.litellm == PurePath("/home/me/.config/litellm")
        assert found.venv == PurePath("/home/me/.config/litellm/venv")
        assert found.env_file == PurePath("/home/me/.config/lab-secrets/litellm.env")
        assert found.default_lab == PurePath("/home/me/.config/keyturn/default-lab")

    def test_absolute_xdg_folders_and_droids_override_count_and_others_do_not(self) -> None:
        found = places(
            {
                "HOME": "/home/me",
                "XDG_CONFIG_HOME": "/c",
                "XDG_STATE_HOME": "relative",
                "XDG_CACHE_HOME": "",
                "FACTORY_HOME_OVERRIDE": "/f",
            }
        )
        assert (found.config, found.factory) == (PurePath("/c"), PurePath("/f/.factory"))
        assert found.state == PurePath("/home/me/.local/state")
        assert found.cache == PurePath("/home/me/.cache")

    @pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "me"}])
    def test_without_a_home_there_is_nothing_to_work_on(self, environ: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match="there is no home"):
            places(environ)

    def test_labs_of_the_same_name_do_not_share_a_state_folder(self) -> None:
        found = places({"HOME": "/home/me"})
        one, two = (found.lab_state(PurePath(root)) for root in ("/a/lab", "/b/lab"))
        assert one != two
        assert one.name.startswith("lab-")
        assert found.lab_state(PurePath("/")).name.startswith("root-")
        long = found.lab_state(PurePath("/a", "\u00fc" * 127))
        assert long.name.startswith("\u00fc" * 100 + "-")
        assert len(long.name.encode()) == 209


def test_the_clock_goes_on() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before


class TestJsonState:
    def test_what_is_saved_is_loaded(self, tmp_path: Path) -> None:
        JsonState(tmp_path / "state").save({"targets": {"config": {"digest": "1"}}, "inputs": "2"})
        loaded = JsonState(tmp_path / "state").load()
        assert loaded == {"version": 1, "targets": {"config": {"digest": "1"}}, "inputs": "2"}
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "state/state.json").stat().st_mode & 0o777 == 0o600

    def test_nothing_is_written_where_nothing_changed(self, tmp_path: Path) -> None:
        state = JsonState(tmp_path)
        state.save({"inputs": "1"})
        before = (tmp_path / "state.json").stat().st_ino
        state.save({"inputs": "1"})
        assert (tmp_path / "state.json").stat().st_ino == before
        state.save({"inputs": "2"})
        assert state.load()["inputs"] == "2"

    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "[]", "null", '{"version": 2, "inputs": "1"}', "\xff", "[" * 100_000,
            '{"version": 1, "targets": []}', '{"version": 1, "targets": {"config": "x"}}',
        ],
        ids=lambda text: text[:20],
    )  # fmt: skip
    def test_a_state_that_makes_no_sense_counts_as_none_and_can_be_replaced(
        self, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "state.json").write_text(text, "latin-1")
        assert JsonState(tmp_path).load() == {}
        JsonState(tmp_path).save({"inputs": "1"})
        assert json.loads((tmp_path / "state.json").read_text()) == {"version": 1, "inputs": "1"}

    def test_a_state_that_is_no_file_counts_as_none_but_is_not_overwritten(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "state.json").mkdir()
        assert JsonState(tmp_path).load() == {}
        with pytest.raises(TargetError):
            JsonState(tmp_path).save({"inputs": "1"})


class TestTemplateFolder:
    def test_the_labs_own_template_comes_first(self, tmp_path: Path) -> None:
        templates = TemplateFolder(tmp_path)
        shipped = templates.text("litellm/config.yaml.j2")
        assert "model_list" in shipped
        own = tmp_path / "templates/litellm/config.yaml.j2"
        own.parent.mkdir(parents=True)
        own.write_text("# mine\n")
        assert TemplateFolder(tmp_path).text("litellm/config.yaml.j2") == "# mine\n"
        assert templates.text("litellm/config.yaml.j2") == shipped  # one text for one command
        assert "[Service]" in templates.text("systemd/litellm.service.j2")

    def test_the_hook_of_the_gateway_is_a_template_too(self, tmp_path: Path) -> None:
        text = TemplateFolder(tmp_path).text("litellm/keyturn_output_cap.py")
        assert text == (
            Path(machine.__file__).parent.parent / "gateway/keyturn_output_cap.py"
        ).read_text("utf-8")

    def test_an_installed_package_brings_its_templates_inside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "site-packages/bootstrap"
        (package / "_templates/x").mkdir(parents=True)
        (package / "_templates/x/y.j2").write_text("# inside\n")
        monkeypatch.setattr(machine, "__file__", str(package / "adapters/machine.py"))
        assert TemplateFolder(tmp_path).text("x/y.j2") == "# inside\n"

    def test_a_missing_template_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"template no/such\.j2 is missing") as caught:
            TemplateFolder(tmp_path).text("no/such.j2")
        assert caught.value.fix.startswith(f"write {tmp_path}/templates/no/such.j2")

    @pytest.mark.parametrize("kind", ["folder", "bytes"])
    def test_an_unreadable_template_is_named_with_its_path(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "templates/x.j2"
        path.parent.mkdir()
        if kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"\xff")
        with pytest.raises(ConfigError) as caught:
            TemplateFolder(tmp_path).text("x.j2")
        assert caught.value.what == f"template {path} cannot be read"
