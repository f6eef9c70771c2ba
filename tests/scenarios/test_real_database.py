"""The real LiteLLM with a real PostgreSQL: what it stored can be read after every rotation."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support.homes import REPOSITORY
from support.labs import MASTER, STORE, CliLab, make, port_of_our_own, stopped_after
from support.litellm import Upstream
from support.litellm_prisma import litellm_tables, litellm_with_prisma
from support.postgresql import PASSWORD, Database, running_postgresql
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(450)]

INTERNAL, SALT, URL = "KEYTURN_INTERNAL_KEY", "LITELLM_SALT_KEY", "DATABASE_URL"
STORED = "stored"
CONFIG = "templates/litellm/config.yaml.j2"
MORE = f"[secrets.{URL}]\n[secrets.{SALT}]\noptional = true\n"


class DatabaseLab:
    """A running lab without the guard, with a database, and a model stored in there.

    Attributes:
        lab: The lab.
        provider_key: What the stored model's provider wants, and LiteLLM has stored.
    """

    def __init__(self, lab: CliLab, database: Database, upstream: Upstream, key: Secret) -> None:
        self.lab = lab
        self.provider_key = key
        self._database = database
        self._upstream = upstream

    @property
    def gateway(self) -> HttpGateway:
        """Its gateway."""
        return HttpGateway(f"http://127.0.0.1:{self.lab.port}")

    def auth(self, kind: str) -> None:
        """Write its lab.toml."""
        self.lab.write(gateway=f'auth = "{kind}"\nsocket = "never"', more=MORE)

    def put(self, **values: str | None) -> None:
        """Change its store by hand."""
        secrets = {name: Secret(value) if value else None for name, value in values.items()}
        SopsProvider(PurePath(self.lab.root), self.lab.environment()).write_many(STORE, secrets)

    def store_model(self) -> None:
        """Have LiteLLM store a model, and the key of its provider."""
        parameters = {
            "model": "openai/upstream",
            "api_base": f"http://127.0.0.1:{self._upstream.port}/v1",
            "api_key": self.provider_key.reveal(),
        }
        body = json.dumps({"model_name": STORED, "litellm_params": parameters, "model_info": {}})
        headers = {"authorization": f"Bearer {self.lab.key}", "content-type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.lab.port, timeout=60)
        with closing(connection):
            connection.request("POST", "/model/new", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()

    def row(self) -> str:
        """Return what the database holds of the stored model."""
        found = self._database.ask('SELECT litellm_params FROM "LiteLLM_ProxyModelTable"')
        assert self.provider_key.reveal() not in found
        assert json.loads(found)["api_key"]
        return found

    def read(self) -> None:
        """Have the stored model answer, for which its provider wants the stored key."""
        key = Secret(self.lab.key)
        until(
            lambda: "pong" in self.gateway.complete(key, STORED).text, "the stored model's answer"
        )

    def refusal(self, *words: str) -> dict[str, str]:
        """Return why a rotation is refused."""
        ran = self.lab.call("rotate", *words)
        assert ran.code == 1
        return ran.error


@pytest.fixture
def stored(tmp_path: Path, home: Path) -> Iterator[DatabaseLab]:
    key, keys = new_key(), tmp_path / "upstream.keys"
    keys.write_text(f"{key.reveal()}\n")
    with ExitStack() as stack:
        database = stack.enter_context(running_postgresql(port_of_our_own()))
        database.ask(litellm_tables())
        upstream = Upstream(tmp_path, keys=keys)
        stack.callback(upstream.stop)
        lab = make(tmp_path, home, write=False)
        lab.wrapper = litellm_with_prisma()
        made = DatabaseLab(lab, database, upstream, key)
        made.auth("master-key")
        own = lab.root / CONFIG
        own.parent.mkdir(parents=True)
        own.write_text((REPOSITORY / CONFIG).read_text() + "\n  store_model_in_db: true\n")
        stack.enter_context(stopped_after(lab))
        lab.ok("init", str(lab.root))
        made.put(**{URL: database.url})
        lab.ok("apply")
        made.store_model()
        yield made


def test_what_a_database_holds_can_be_read_after_every_rotation(stored: DatabaseLab) -> None:
    see_what_litellm_refuses(stored)
    rotate_what_the_salt_key_outlives(stored)
    remove_the_salt_key(stored)
    rotate_what_encrypts_nothing(stored)
    see_that_what_encrypts_is_kept(stored)
    encrypt_anew(stored)
    stored.lab.ok("check")
    assert PASSWORD not in "".join(stored.lab.said)
    assert stored.provider_key.reveal() not in "".join(stored.lab.said)


def see_what_litellm_refuses(stored: DatabaseLab) -> None:
    """Ask with keys that its database does not know, and with none."""
    unknown, none = stored.gateway.models(new_key()), stored.gateway.models(None)
    assert (unknown.status, unknown.error_type) == (401, "token_not_found_in_db")
    assert verdict(unknown, with_key=True) is Verdict.REFUSED
    assert verdict(none, with_key=False) is Verdict.REFUSED
    stored.lab.ok("check")
    stored.read()


def rotate_what_the_salt_key_outlives(stored: DatabaseLab) -> None:
    """Rotate LiteLLM's own master key, while the salt key encrypts."""
    lab, row, old = stored.lab, stored.row(), stored.lab.key
    lab.ok("rotate")
    assert lab.key != old
    assert stored.row() == row
    stored.read()
    assert stored.gateway.models(Secret(old)).error_type == "token_not_found_in_db"


def remove_the_salt_key(stored: DatabaseLab) -> None:
    """Put the guard before LiteLLM, which is started with what was the salt key until now."""
    row, salt = stored.row(), stored.lab.value(SALT)
    stored.put(**{SALT: None, INTERNAL: salt})
    stored.auth("guard")
    stored.lab.ok("apply")
    assert stored.row() == row
    stored.read()


def rotate_what_encrypts_nothing(stored: DatabaseLab) -> None:
    """Rotate the key of the clients, which LiteLLM itself never gets under the guard."""
    lab, row, old, pid = stored.lab, stored.row(), stored.lab.key, stored.lab.pid
    lab.ok("rotate")
    assert lab.key != old
    assert (lab.pid, stored.row()) == (pid, row)
    assert verdict(stored.gateway.models(Secret(old)), with_key=True) is Verdict.REFUSED
    stored.read()


def see_that_what_encrypts_is_kept(stored: DatabaseLab) -> None:
    """Try to rotate what the database is encrypted with, under the guard and without it."""
    for words in (("--all",), (INTERNAL,)):
        said = stored.refusal(*words)
        assert said["error"] == f"{INTERNAL} is not rotated: LiteLLM has a database and no {SALT}"
        assert "--re-encrypt" in said["fix"]
    stored.auth("master-key")
    assert f"{MASTER} is not rotated" in stored.refusal("--dry-run")["error"]
    stored.auth("guard")


def encrypt_anew(stored: DatabaseLab) -> None:
    """Have LiteLLM carry everything over to another key."""
    lab, row, old = stored.lab, stored.row(), stored.lab.value(INTERNAL)
    lab.ok("rotate", INTERNAL, "--re-encrypt")
    assert lab.value(INTERNAL) != old
    assert stored.row() != row
    stored.read()
