# ruff: noqa: S101 - these are tests, shipped so that authors of clients can run them
"""What every client that a package brings must be, as tests to inherit.

    # test_zed_client.py
    from pathlib import Path

    import keyturn_zed
    import pytest
    from bootstrap.client_contract import ClientContract

    class TestZedClient(ClientContract):
        @pytest.fixture
        def client(self):
            return keyturn_zed.CLIENT

        @pytest.fixture
        def templates(self):                     # the folder beside the module
            return Path(keyturn_zed.__file__).parent / "templates"

Nothing here imports pytest.
"""

from pathlib import Path, PurePath

from bootstrap.domain.client import HELPER, LITERAL, Preset
from bootstrap.domain.client_check import problem_of
from bootstrap.domain.client_ways import client_context
from bootstrap.domain.key_paths import value_at
from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import Target, targets
from bootstrap.domain.template import render
from bootstrap.domain.validate import validate

_HOME = PurePath("/home/contract")
_HELPER = "/opt/keyturn/bin/keyturn get LITELLM_MASTER_KEY --lab '/home/contract/my lab'"


class ClientContract:
    """What a client that a package brings can do.

    Needs two fixtures: `client`, the description, and `templates`, the folder of its templates.

    Attributes:
        KEY: The key that is handed to it.
    """

    KEY = "sk-test-handed-over-by-the-contract-0123456789"

    def test_its_description_is_one_that_keyturn_takes(self, client: Preset) -> None:
        """Names, placeholders, versions and files fit together."""
        assert problem_of(client.name, client) == ""

    def test_each_way_renders_files_that_their_reader_takes(
        self, client: Preset, templates: Path
    ) -> None:
        """Every way has its file, and the file passes the check that the description names."""
        for lab in self._labs(client):
            for target in self._own(lab):
                validate(target, self._rendered(lab, target, templates), lab, frozenset())

    def test_a_literal_key_is_found_where_the_description_says(
        self, client: Preset, templates: Path
    ) -> None:
        """Else no stale key would be noticed."""
        for lab in self._labs(client, LITERAL):
            for target in self._own(lab):
                assert target.secret
                data = self._rendered(lab, target, templates)
                file = next(f for f in lab.brought[client.name].files if f.name == target.name)
                if file.check == "env":
                    lines = data.decode().splitlines()
                    found = [line.partition("=")[2].strip("'\"") for line in lines if "=" in line]
                else:
                    found = [str(value_at(file.check, data, path)) for path in file.key_at]
                assert self.KEY in found

    def test_no_key_stands_where_a_command_or_a_variable_brings_it(
        self, client: Preset, templates: Path
    ) -> None:
        """That is what those ways are for."""
        for lab in self._labs(client):
            if lab.hand_over[client.name] != LITERAL:
                for target in self._own(lab):
                    assert self.KEY.encode() not in self._rendered(lab, target, templates)

    def test_the_helper_is_in_its_file(self, client: Preset, templates: Path) -> None:
        """A helper that is not named is never run."""
        for lab in self._labs(client, HELPER):
            data = b"".join(self._rendered(lab, t, templates) for t in self._own(lab))
            assert b"keyturn get" in data

    def _labs(self, client: Preset, only: str | None = None) -> list[Lab]:
        """Return a lab for each way."""
        ways = client.setup.ways if client.setup else ()
        return [
            parse_lab(
                f'version = 1\n[clients.{client.name}]\nhand_over = "{way.name}"\n',
                _HOME / "my lab",
                brought=lambda name: client if name == client.name else None,
            )
            for way in ways
            if only in (None, way.name)
        ]

    def _own(self, lab: Lab) -> list[Target]:
        folders = (_HOME / name for name in (".config", ".local/state", ".cache", ".factory"))
        places = Places(_HOME, *folders)
        return [t for t in targets(lab, places, "supervisor") if t.client in lab.brought]

    def _rendered(self, lab: Lab, target: Target, templates: Path) -> bytes:
        name = target.template or ""
        secrets = {MASTER_KEY: Secret(self.KEY)}
        values = client_context(lab, target.client, secrets, _HELPER)
        return render((templates / name).read_text("utf-8"), values, name=name).data
