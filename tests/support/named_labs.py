"""Labs whose gateway uses a provider that wants a key, and a real Redis with a password."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.redis_ping import ping
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.secret import Secret
from support import labs
from support.homes import pick_free_port
from support.litellm import Upstream
from support.redis_server import running_redis

PROVIDER, REDIS, OTHER = "UPSTREAM_KEY", "REDIS_PASSWORD", "DEPLOY_TOKEN"
MODEL = "behind-a-key"
MORE = f"""
[secrets.{PROVIDER}]
[secrets.{REDIS}]
[secrets.{OTHER}]
[backends.upstream]
kind = "vllm"
url = "http://127.0.0.1:{{upstream}}/v1"
key = "{PROVIDER}"
[[models]]
alias = "{MODEL}"
backend = "upstream"
fallbacks = ["lab-echo"]
[redis]
host = "127.0.0.1"
port = {{redis}}
password = "{REDIS}"
"""


@dataclass
class NamedLab:
    """A bootstrapped lab, and the world around it.

    Attributes:
        lab: The lab.
        upstream: What answers its model.
        keys: The file of the keys that open it.
        redis: The port of its Redis.
    """

    lab: labs.CliLab
    upstream: Upstream
    keys: Path
    redis: int

    @property
    def gateway_env(self) -> str:
        """What the gateway's process is given."""
        return Path(self.lab.places.gateway_env).read_text()

    def call(self, *words: str, stdin: str = "") -> labs.Ran:
        """Call keyturn with a text on standard input."""
        return labs.feed(self.lab, *words, stdin=stdin)

    def opens_redis(self, password: str) -> bool:
        """Tell whether the password opens the Redis."""
        return ping("127.0.0.1", self.redis, Secret(password)) is None

    def agrees(self) -> bool:
        """Tell whether nothing is left to do, and no value of a rotation is left in the store."""
        return (
            self.lab.call("plan", "--exit-code").code == 0
            and "_KEYTURN_" not in self.lab.store.read_text()
        )


@contextmanager
def named_lab(
    folder: Path, home: Path, *, redis: str = "", wrapper: Path | None = None
) -> Iterator[NamedLab]:
    """Give a running lab.

    Args:
        folder: An empty folder.
        home: The user's home, 0700.
        redis: Further lines of the Redis's configuration.
        wrapper: What runs as the gateway; None for the stand-in.
    """
    keys = folder / "upstream.keys"
    values = {name: new_key() for name in (PROVIDER, REDIS, OTHER)}
    keys.write_text(values[PROVIDER].reveal() + "\n")
    with ExitStack() as stack:
        upstream = Upstream(folder, keys=keys)
        stack.callback(upstream.stop)
        settings = f"requirepass {values[REDIS].reveal()}\n{redis}"
        port = stack.enter_context(running_redis(folder, pick_free_port(), settings))
        lab = labs.make(folder, home, write=False)
        lab.wrapper = wrapper or lab.wrapper
        lab.write(more=MORE.format(upstream=upstream.port, redis=port))
        stack.enter_context(labs.stopped_after(lab))
        lab.ok("init", str(lab.root))
        SopsProvider(PurePath(lab.root), lab.environment()).write_many(labs.STORE, values)
        lab.ok("bootstrap", str(lab.root))
        yield NamedLab(lab, upstream, keys, port)
