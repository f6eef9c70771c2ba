"""Labs with the real LiteLLM, under either service manager, to be restarted under load."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath

from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.sops import SopsProvider
from support.labs import STORE, CliLab, feed, make, stopped_after
from support.litellm import Upstream, real_litellm
from support.unit_labs import in_session

MODEL = "told-slowly"
STREAM_S = 4.0
PROVIDER = "UPSTREAM_KEY"
_MORE = """
[secrets.UPSTREAM_KEY]
[backends.upstream]
kind = "vllm"
url = "http://127.0.0.1:{port}/v1"
key = "UPSTREAM_KEY"
[[models]]
alias = "{model}"
backend = "upstream"
output_tokens = {tokens}
"""


class RealLab:
    """A running lab, and how its configuration is changed.

    Args:
        lab: The lab.
        upstream: What answers its model.
        keys: The file of the keys that open the upstream.
    """

    def __init__(self, lab: CliLab, upstream: Upstream, keys: Path) -> None:
        self.lab = lab
        self.keys = keys
        self._upstream = upstream
        self._tokens = 1000

    def change(self, gateway: str = "") -> None:
        """Write another lab.toml, which the gateway must restart for."""
        self._tokens += 1
        more = _MORE.format(port=self._upstream.port, model=MODEL, tokens=self._tokens)
        alias = f"and-{self._tokens}"
        more += f'[[models]]\nalias = "{alias}"\nbackend = "echo"\n'
        self.lab.write(gateway=gateway, more=more)

    def rotate_provider_key(self) -> None:
        """Rotate the upstream's key, and prove that it alone is used from then on."""
        old, new = self.lab.value(PROVIDER), new_key().reveal()
        self.keys.write_text(f"{old}\n{new}\n")
        ran = feed(self.lab, "rotate", PROVIDER, "--value-stdin", stdin=new)
        assert ran.code == 0, ran.err
        assert self.lab.value(PROVIDER) == new
        sent = [record["authorization"] for record in self._upstream.requests(MODEL)]
        assert sent[-1] == f"Bearer {new}"


@contextmanager
def real_lab(
    folder: Path, home: Path, kind: str, gateway: str = "", stream_s: float = STREAM_S
) -> Iterator[RealLab]:
    """Give a running lab with the real LiteLLM.

    Args:
        folder: An empty folder.
        home: The user's home, 0700.
        kind: `systemd` or `supervisor`.
        gateway: More lines of its [gateway].
        stream_s: How long a stream takes.
    """
    key, keys = new_key(), folder / "upstream.keys"
    keys.write_text(key.reveal() + "\n")
    with ExitStack() as stack:
        upstream = Upstream(folder, pace_s=stream_s / 3, keys=keys)
        stack.callback(upstream.stop)
        lab = make(folder, home, write=False)
        lab.wrapper = real_litellm()
        if kind == "systemd":
            lab = stack.enter_context(in_session(lab))
        made = RealLab(lab, upstream, keys)
        made.change(gateway)
        stack.enter_context(stopped_after(lab))
        lab.ok("init", str(lab.root))
        SopsProvider(PurePath(lab.root), lab.environment()).write_many(STORE, {PROVIDER: key})
        lab.ok("bootstrap", str(lab.root))
        yield made
