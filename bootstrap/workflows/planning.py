"""Plan: render what should be, observe what is, and say what differs.

Decrypts nothing where neither the lab file, a template, the encrypted store nor any target has
changed since the last apply.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from bootstrap import __version__
from bootstrap.domain import targets as target_names
from bootstrap.domain.claims import of_others
from bootstrap.domain.client_ways import client_context, template_context
from bootstrap.domain.content import Content, FileState, digest_of
from bootstrap.domain.lab import Lab
from bootstrap.domain.litellm_config import (
    fallbacks,
    general_settings,
    litellm_settings,
    model_list,
    output_caps,
)
from bootstrap.domain.plan import Plan, gateway_reason
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import (
    DATABASE_URL,
    GENERATED,
    INTERNAL_KEY,
    MASTER_KEY,
    SALT_KEY,
)
from bootstrap.domain.service_env import DRAIN_HELD_S, DRAIN_S, service_environment, unset_for
from bootstrap.domain.targets import Target, Touches, targets
from bootstrap.domain.template import render
from bootstrap.domain.validate import validate
from bootstrap.workflows.compare import compare, differ, no_diff
from bootstrap.workflows.own_keys import keyset_for, missing
from bootstrap.workflows.resolve import Resolved
from bootstrap.workflows.tools import NamedSecrets, Tools


def make_plan(
    tools: Tools,
    *,
    force: bool = False,
    running: bool = True,
    secrets: NamedSecrets | None = None,
) -> Plan:
    """Return what `apply` would do.

    Args:
        tools: The lab and everything around it.
        force: Overwrite what was edited by hand, keeping backups.
        running: Whether the gateway should run; False plans files only.
        secrets: Plan for these instead of asking the lab's sources.

    Raises:
        LabError: The lab cannot be rendered, a secret cannot be had, or a target cannot be read.
    """
    state = tools.state.load()
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    found = {target.name: tools.files.observe(target.path) for target in wanted}
    for_show = secrets is None
    inputs = inputs_digest(tools, wanted) if for_show else None  # before they are read
    unchanged = not force and _unchanged(state, inputs, found)
    if unchanged and not _claimed(tools, wanted, state):
        same = Plan(remember=state.get("targets", {}), fresh=False, inputs=inputs)
        return _with_gateway(tools, same, state, running)
    if secrets is None:
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    tools = replace(tools, lab=tools.lab.with_secrets(secrets))
    absent = missing(tools.lab, secrets)
    secrets = {**secrets, **{name: tools.new_key() for name in absent}}
    contents = render_targets(tools, wanted, secrets)
    if tools.lab.guarded:
        contents[target_names.KEYSET] = keyset_for(tools, found, secrets)
    last = state.get("targets", {})
    diff = differ(tools, secrets) if for_show else no_diff
    plan = compare(tools, wanted, contents, found, last, force, diff)
    return _with_gateway(tools, replace(plan, new_keys=absent, inputs=inputs), state, running)


def needed_secrets(tools: Tools) -> tuple[str, ...]:
    """Return the names of the secrets that the lab's targets need."""
    generated = GENERATED if tools.lab.guarded else (MASTER_KEY, SALT_KEY)
    own = (key.secret for key in tools.lab.client_keys)
    database = (DATABASE_URL,) if DATABASE_URL in tools.lab.secrets else ()
    return tuple(dict.fromkeys((*generated, *own, *tools.lab.provider_keys(), *database)))


def gateway_files(tools: Tools, secrets: NamedSecrets) -> dict[str, Content]:
    """Return the rendered bytes of what the gateway is started with, by target name.

    Raises:
        ConfigError: As render_targets.
    """
    tools = replace(tools, lab=tools.lab.with_secrets(secrets))
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    return render_targets(
        tools, tuple(each for each in wanted if each.touches is not Touches.NOTHING), secrets
    )


def render_targets(
    tools: Tools, wanted: tuple[Target, ...], secrets: NamedSecrets
) -> dict[str, Content]:
    """Return the rendered and validated bytes of every target that has a template.

    Raises:
        ConfigError: A template is broken, or renders something that its reader would refuse.
    """
    context = _context(tools, secrets)
    contents = {}
    env_names = frozenset(_gateway_secrets(tools, secrets))
    copied = tools.rendered.of("copied as they are")
    made = tools.rendered.of((tools.lab, context["argv"], secrets))
    for target in wanted:
        if target.template is None:
            continue
        text = tools.templates.text(target.template)
        known = copied if target.raw else made
        source, content = known.get(target.name, (None, None))
        if content is None or source != (target, text):
            context["spare"] = target.name == target_names.UNIT_SPARE
            raw = Content(text.encode()) if target.raw else None
            values = context
            if target.client in tools.lab.brought:
                helper = _key_helper(tools, target.client)
                values = client_context(tools.lab, target.client, secrets, helper)
            content = raw or render(text, values, name=target.template)
            validate(target, content.data, tools.lab, env_names)
            known[target.name] = (target, text), content
        contents[target.name] = content
    return contents


def _context(tools: Tools, secrets: NamedSecrets) -> dict[str, object]:
    lab, places = tools.lab, tools.places
    return {
        "lab": lab,
        "gateway": lab.gateway,
        "models": lab.models,
        "secrets": secrets,
        "env_secrets": _shell_secrets(tools, secrets),
        "gateway_secrets": _gateway_secrets(tools, secrets),
        "literal": secrets if lab.gateway.literal_keys else None,
        "droid_key": secrets.get(lab.key_name("droid")),
        "droid_key_name": lab.key_name("droid"),
        **template_context(lab, secrets),
        "model_list": model_list(lab),
        "fallbacks": fallbacks(lab),
        "litellm_settings": litellm_settings(lab),
        "general_settings": general_settings(lab),
        "output_caps": output_caps(lab),
        "argv": _argv(tools),
        "drain_s": DRAIN_HELD_S if lab.gateway.held else DRAIN_S,
        "env_file": str(places.gateway_env if lab.guarded else places.env_file),
        "environment": service_environment(),
        "unset": unset_for(tuple(_gateway_secrets(tools, secrets))),
        "keyturn": tools.keyturn,
        "key_helper": _key_helper(tools, "droid"),
        "claude_helper": _key_helper(tools, "claude"),
        "names": lab.exec_names,
        "watch": watched(lab),
    }


def _argv(tools: Tools) -> tuple[str, ...]:
    """Return the command line of the gateway's process.

    With a socket that is held open it is LiteLLM's own Python with our launcher, or, where the
    lab's command has no Python beside it, that command, which then takes the socket over itself.
    """
    gateway, folder = tools.lab.gateway, tools.places.litellm
    config = str(folder / "config.yaml")
    python = tools.installer.interpreter() if gateway.held else None
    if python is not None:
        return (str(python), "-I", "-u", str(tools.places.litellm_serve), config)
    address = ("--host", gateway.host, "--port", str(gateway.port))
    return (str(tools.program), "--config", config, *address)


def _gateway_secrets(tools: Tools, secrets: NamedSecrets) -> NamedSecrets:
    """Return what the gateway's process needs."""
    left_out = {MASTER_KEY if tools.lab.guarded else INTERNAL_KEY}
    left_out |= {key.secret for key in tools.lab.client_keys}
    return {name: secret for name, secret in secrets.items() if name not in left_out}


def _shell_secrets(tools: Tools, secrets: NamedSecrets) -> NamedSecrets:
    """Return what the env file for shells holds; without the guard the service reads it too."""
    if not tools.lab.guarded:
        return _gateway_secrets(tools, secrets)
    return {name: secrets[name] for name in (MASTER_KEY, SALT_KEY) if name in secrets}


def _key_helper(tools: Tools, client: str) -> str:
    lab = str(tools.lab.root)
    return shlex.join([tools.keyturn, "get", tools.lab.key_name(client), "--lab", lab])


def watched(lab: Lab) -> list[str]:
    """Return the files whose change makes direnv load the lab's secrets again."""
    stores = [
        ref.place
        for name in lab.exec_names
        if name in lab.secrets
        for ref in lab.secrets[name].sources
        if ref.scheme == "sops"
    ]
    return list(dict.fromkeys(("lab.toml", *stores)))


def inputs_digest(tools: Tools, wanted: tuple[Target, ...]) -> str:
    """Return one digest over all that the targets are made from; empty if it cannot be known.

    Only secrets that an encrypted file holds can be told unchanged without reading them, so one
    that comes from anywhere else makes every plan read it.
    """
    parts = [__version__, tools.keyturn, str(tools.program), str(tools.lab)]
    for name in needed_secrets(tools):
        ref, *others = tools.resolver.sources(name)
        if ref.scheme != "sops":
            return ""
        store = tools.files.observe(PurePath(tools.lab.root, ref.place))
        if store is None or (others and not _lists(store.content.data, ref.name)):
            return ""
        parts += [str(ref), store.content.digest]
    for target in wanted:
        parts.append(f"{target.name} {target.path} {target.mode:o}")
        if target.template is not None:
            parts.append(digest_of(tools.templates.text(target.template).encode()))
    return digest_of("\0".join(parts).encode("utf-8", "surrogateescape"))


def _lists(ciphertext: bytes, name: str) -> bool:
    """Tell whether an encrypted file has an entry of that name: sops leaves the names readable."""
    entry = rf'(?:^|[\s{{,"]){re.escape(name)}"?\s*[:=]\s*"?ENC\['
    return re.search(entry.encode(), ciphertext) is not None


def _unchanged(
    state: Mapping[str, Any], inputs: str | None, found: Mapping[str, FileState | None]
) -> bool:
    """Tell whether nothing can have drifted: same inputs, and every file as we left it."""
    return bool(inputs) and state.get("inputs") == inputs and state.get("seen") == seen(found)


def _claimed(tools: Tools, wanted: tuple[Target, ...], state: Mapping[str, Any]) -> bool:
    """Tell whether another lab answers for a target now, though it has not written it yet."""
    others = of_others(tools.other_labs(), state)
    return any(str(target.path) in others for target in wanted)


def seen(found: Mapping[str, FileState | None]) -> dict[str, str | None]:
    """Return what identifies the files found, for the state."""
    return {
        name: None if file is None else f"{file.content.digest} {file.mode:04o}"
        for name, file in found.items()
    }


def _with_gateway(tools: Tools, plan: Plan, state: Mapping[str, Any], running: bool) -> Plan:
    reload = any(c.target.touches is Touches.MANAGER and c.write is not None for c in plan.changes)
    if not running:
        return replace(plan, reload=reload)
    reason = gateway_reason(plan.changes)
    if reason:
        return replace(
            plan, gateway=reason, starts=not tools.service.status().running, reload=reload
        )
    if not tools.service.status().running:
        return replace(plan, gateway="it is not running", starts=True, reload=reload)
    if state.get("gateway") != gateway_digest(tools, plan.remember):
        return replace(plan, gateway="it runs with older files", reload=True)
    return replace(plan, reload=reload)


def gateway_digest(tools: Tools, remember: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what identifies the files that the gateway reads at its start."""
    parts = [
        f"{target.name} {remember.get(target.name, {}).get('digest', '')}"
        for target in targets(tools.lab, tools.places, tools.service.kind)
        if target.touches is not Touches.NOTHING
    ]
    return digest_of("\n".join(parts).encode())


def only_secrets(resolved: Mapping[str, Resolved]) -> dict[str, Secret]:
    """Return the secrets alone, by name."""
    return {name: item.secret for name, item in resolved.items()}
