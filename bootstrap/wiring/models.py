"""Where `keyturn models import` gets a catalogue from, and where it puts it."""

import os
from pathlib import Path, PurePath

from bootstrap.adapters.backend_ask import REFUSED, ask_models
from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.gateway import get_json
from bootstrap.adapters.redact import KnownSecrets
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.backend_read import names_in, read_models, read_tags
from bootstrap.domain.errors import ConfigError, GatewayError, UsageError
from bootstrap.domain.found_models import Found, FoundKey, same_url, url_problem
from bootstrap.domain.lab_additions import Additions
from bootstrap.domain.litellm_read import read_catalogue, read_document
from bootstrap.domain.probes import is_not_ready
from bootstrap.domain.redact import mask_unknown
from bootstrap.wiring import found_lab
from bootstrap.workflows.import_models import Import, carry_out, plan_import


def from_file(path: Path) -> Found:
    """Return the catalogue of a LiteLLM config.

    Variables that it refers to are looked up in the environment.

    Raises:
        ConfigError: It cannot be read, or is no LiteLLM config.
    """
    found = LocalFiles().observe(found_lab.working_directory() / path)
    if found is None:
        raise ConfigError(
            f"there is no file {path}", why="nothing stands there", fix="name a LiteLLM config"
        )
    document = read_document(found.content.data, str(path))
    return read_catalogue(document, path.name, os.environ.get)


def from_backend(url: str, root: PurePath, key_name: str | None) -> Found:
    """Return the catalogue of a running Ollama, llama.cpp, vLLM or OpenAI-compatible server.

    Args:
        url: Its address, with or without `/v1`.
        root: The lab's folder.
        key_name: The secret of the lab that opens it, or None.

    Raises:
        UsageError: It is no URL, or the lab's own gateway.
        GatewayError: It does not answer, or not with a list of models, or names one as its key.
    """
    problem = url_problem(url)
    if problem:
        why = f"{problem}, as in http://127.0.0.1:11434"
        raise UsageError("bad --from", why=why, fix="keys are named by --key NAME")
    base = url.rstrip("/").removesuffix("/v1").rstrip("/")
    if same_url(base, found_lab.load(root).gateway.url):
        raise UsageError(
            f"{base} is this lab's own gateway",
            why="its models are in lab.toml already",
            fix="name the backend behind it, such as http://127.0.0.1:11434",
        )
    secret = None if key_name is None else found_lab.resolver(root).resolve(key_name).secret
    key = None if key_name is None else FoundKey(key_name, secret)
    _, document = get_json(f"{base}/api/tags", secret)
    _refuse_its_own_key(base, document, key)
    found = read_tags(document, base, key)
    if found is not None:
        return found
    answer, document = ask_models(base, secret)
    _refuse_its_own_key(base, document, key)
    found = read_models(document, f"{base}/v1", key)
    if found is not None and answer.status == 200:
        return found
    why = answer.problem or f"GET /v1/models gives {answer.status}, and /api/tags no list"
    fix = "start it, or name the secret that opens it: --key NAME"
    if answer.status in REFUSED:
        why = f"it refuses the key {key_name}" if key_name else "it wants a key"
    if is_not_ready(answer):
        fix = "wait until it has its model, or see its log"
    raise GatewayError(
        f"{base} does not say which models it has",
        why=why,
        fix=fix,
    )


def _refuse_its_own_key(base: str, document: object, key: FoundKey | None) -> None:
    """See to it that a server that repeats the key it was sent gets it into no file.

    Raises:
        GatewayError: It does, as the name of a model.
    """
    if key is None or key.name is None or key.value is None:
        return
    mask = KnownSecrets({key.name: key.value}).mask
    if any(mask(name) != name for name in names_in(document)):
        raise GatewayError(
            "nothing was imported",
            why=f"{base} gives the key {key.name} as the name of a model",
            fix="look at what answers there; names are not kept secret, in lab.toml least of all",
        )


def prepare(root: PurePath, found: Found) -> Import:
    """Return what importing `found` would add to the lab at `root`; changes nothing.

    Raises:
        ConfigError: A key that belongs into the store stands where a name does, too, so that it
            would come into lab.toml and onto the screen.
    """
    ready = plan_import(LocalFiles(), SopsProvider(root), root, found)
    refuse_named_keys(ready.additions)
    return ready


def refuse_named_keys(more: Additions) -> None:
    """Make sure that no key is a name as well.

    Raises:
        ConfigError: One is.
    """
    mask = KnownSecrets(dict(more.store)).mask
    texts = (more.text, *more.models, *more.kept, *more.left_out)
    if any(mask(text) != text for text in texts):
        raise ConfigError(
            "nothing was imported",
            why="a key in it is the name of a model, a server or a setting as well, "
            "and names are not kept secret",
            fix="give that a name of its own in the file, and import it again",
        )


def write(root: PurePath, ready: Import) -> None:
    """Carry an import out."""
    carry_out(LocalFiles(), SopsProvider(root), ready)


def shown(ready: Import) -> list[str]:
    """Return the lines that come to lab.toml, without anything that is or looks like a key."""
    mask = KnownSecrets(dict(ready.additions.store)).mask
    return [_line(mask(line)) for line in ready.additions.text.splitlines()]


def _line(line: str) -> str:
    # The names of secrets, which mask_unknown would hide.
    return line if line.startswith(("key = ", "password = ", "[secrets.")) else mask_unknown(line)
