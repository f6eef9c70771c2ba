"""KT2xx: Claude Code."""

import json
from collections.abc import Iterator

from bootstrap.domain.client_presets import host_of
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.clients.claude import SETUP
from bootstrap.domain.doctor import codes_claude as codes
from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.checks_claude_keys import KEY_CHECKS
from bootstrap.domain.doctor.checks_droid_setup import several, untested
from bootstrap.domain.doctor.claude_settings import (
    REFERENCE,
    URL,
    claude_of,
    in_file,
    is_led_to_gateway,
    problem_in,
    settings_of,
    value_of,
)
from bootstrap.domain.doctor.droid_edits import mend_syntax
from bootstrap.domain.doctor.finding import FileFix, Fill, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.doctor.shell_keys import literals_in
from bootstrap.domain.endpoints import LOOPBACK, endpoint, safe_url, shown
from bootstrap.domain.json_members import set_member
from bootstrap.domain.redirects import redirect
from bootstrap.domain.secret_spec import MASTER_KEY

_MAIN = "ANTHROPIC_MODEL"
_MODELS = (
    _MAIN,
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
# Names that Claude Code replaces by the models above.
_NICKNAMES = ("default", "haiku", "sonnet", "opus", "opusplan", "inherit")
_CLOUD = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "ANTHROPIC_UNIX_SOCKET",
)
_PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


def base_url(seen: Observations) -> Iterator[Finding]:
    """Find base URLs with another path than the gateway's, or with another port."""
    url, wanted = value_of(seen, URL), seen.gateway_url
    if url is None:
        return
    place = endpoint(url.text)
    path = url.text.rstrip("/").partition("://")[2].partition("/")[2]
    wrong_port = place is not None and place[0] == LOOPBACK and place != endpoint(wanted)
    if place is not None and not wrong_port and not (path and is_led_to_gateway(seen)):
        return

    def change(data: bytes | None, _: Fill) -> bytes | None:
        return data if data is None else set_member(data, ("env", URL), wanted)

    file = claude_of(seen).settings.path
    words = f"{url.where} {URL} to {safe_url(url.text)}, where {wanted} is needed"
    mend = f'write "{URL}": "{wanted}"' if url.in_file else f"export {URL}={wanted}"
    fix = FileFix(file, f"{URL} {wanted}", change) if url.in_file else ()
    yield codes.BASE_URL.error(words, mend=mend, fix=fix)


def override(seen: Observations) -> Iterator[Finding]:
    """Find variables of the shell that lose against the file."""
    block = in_file(seen)
    for name in sorted(block):
        shell = seen.variable(name)
        if name.startswith(("ANTHROPIC_", "CLAUDE_CODE_")) and shell and shell != block[name]:
            path = seen.show(claude_of(seen).settings.path)
            yield codes.OVERRIDE.warning(f"{name} is set here, and {path} sets it otherwise")


def model(seen: Observations) -> Iterator[Finding]:
    """Find models that the gateway does not have."""
    if not is_led_to_gateway(seen):
        return
    known = {*seen.aliases, *(seen.served or ())}
    settings = settings_of(claude_of(seen).settings)
    asked = [(name, value.text) for name in _MODELS if (value := value_of(seen, name))]
    top = settings.get("model")
    if isinstance(top, str) and value_of(seen, _MAIN) is None:
        asked.insert(0, ("model", top))
    for name, alias in asked:
        if alias not in known and alias.lower() not in _NICKNAMES:
            verdict = codes.MODEL.warning if seen.served is None else codes.MODEL.error
            yield verdict(f"{name} is {shown(alias)[:60]}; {_listed(known)}")
    chosen = any(name in (_MAIN, "model") for name, _ in asked)
    if not chosen and not any(alias.startswith("claude") for alias in known):
        words = f"{_MAIN} is not set, so one of Anthropic's names is asked for"
        yield codes.MODEL.error(
            f"{words}; {_listed(known)}", mend=f"export {_MAIN}={min(known, default='ALIAS')}"
        )


def _listed(known: set[str]) -> str:
    shown = ", ".join(sorted(known)[:6])
    return f"there are {shown}{' …' if len(known) > 6 else ''}"


def settings_syntax(seen: Observations) -> Iterator[Finding]:
    """Find settings that Claude Code ignores."""
    claude = claude_of(seen)
    for file in (claude.settings, *claude.project):
        name = seen.show(file.path)
        if file.problem:
            yield codes.SETTINGS_SYNTAX.error(f"{name} cannot be read: {file.problem}")
        problem = problem_in(file.data) if file.data is not None else ""
        if not problem:
            continue
        own = file is claude.settings and _is_trivial(file.data)
        fix = FileFix(file.path, "the comma or the emptiness goes", mend_syntax) if own else ()
        yield codes.SETTINGS_SYNTAX.error(f"{name}, {problem}", fix=fix)


def _is_trivial(data: bytes | None) -> bool:
    mended = mend_syntax(data, lambda _: "")
    try:
        return mended != data and isinstance(json.loads(mended or b""), dict)
    except ValueError:
        return False


def cloud(seen: Observations) -> Iterator[Finding]:
    """Find switches that lead past the gateway."""
    for name in _CLOUD:
        value = value_of(seen, name)
        if value is not None and value.text.lower() not in ("0", "false", "no", "off"):
            mend = "take it out of settings.json" if value.in_file else f"unset {name}"
            yield codes.CLOUD.warning(f"{value.where} {name}", mend=mend)


def project(seen: Observations) -> Iterator[Finding]:
    """Find project settings that would send the key elsewhere."""
    preset = PRESETS["claude"]
    for file in claude_of(seen).project:
        if file.data is None or problem_in(file.data):
            continue
        where = redirect(
            file.data,
            variables=(*preset.key, MASTER_KEY),
            gateway=seen.gateway_url,
            aliases=(),
            redirects=preset.redirects,
        )
        if where is not None:
            yield codes.PROJECT.error(f"{seen.show(file.path)}: {where}")


def two_claudes(seen: Observations) -> Iterator[Finding]:
    """Find several installations."""
    installed = claude_of(seen).installations
    words = several(installed, "claude")
    if words:
        same = len({item.version for item in installed}) == 1
        yield (codes.TWO_CLAUDES.note if same else codes.TWO_CLAUDES.warning)(words)


def version(seen: Observations) -> Iterator[Finding]:
    """Find versions that were not tested."""
    found = untested(claude_of(seen).installations, SETUP.tested)
    if found:
        yield codes.VERSION.note(f"Claude Code {found}; tested is {SETUP.tested[-1]}")


def proxy(seen: Observations) -> Iterator[Finding]:
    """Find proxies that requests to this machine would take."""
    used = [name for name in _PROXIES if value_of(seen, name)]
    url = value_of(seen, URL)
    if not used or url is None or not is_led_to_gateway(seen):
        return
    values = (value_of(seen, name) for name in ("NO_PROXY", "no_proxy"))
    excepted = {item.strip() for v in values if v for item in v.text.split(",")}
    host = host_of(url.text)
    if not {host, "*"} & excepted:
        words = f"{', '.join(used)} is set, and NO_PROXY lacks {host}"
        yield codes.PROXY.error(words, mend=f"export NO_PROXY={host}")


def reference(seen: Observations) -> Iterator[Finding]:
    """Find references where nothing is expanded."""
    for name, text in in_file(seen).items():
        if name.startswith("ANTHROPIC_") and REFERENCE.search(text):
            path = seen.show(claude_of(seen).settings.path)
            yield codes.REFERENCE.error(f"{path}: env.{name} has a reference")


def _absent(seen: Observations) -> str:
    claude = seen.claude
    if claude is None or claude.installations or claude.running:
        return ""
    there = claude.settings.state is not None or claude.settings.problem
    named = any(seen.variable(name) for name in (URL, *PRESETS["claude"].key))
    shells = any(_names_a_key(file.data or b"") for file in claude.shell_files)
    if there or named or shells:
        return ""
    return "Claude Code is neither installed nor configured here"


def _names_a_key(data: bytes) -> bool:
    return b"ANTHROPIC_" in data or any(literals_in(data))


_NEEDS = ("claude",)
_CHECKS = (
    *KEY_CHECKS,
    Check(codes.BASE_URL, base_url, ("lab", "claude")),
    Check(codes.OVERRIDE, override, _NEEDS),
    Check(codes.MODEL, model, ("lab", "claude")),
    Check(codes.SETTINGS_SYNTAX, settings_syntax, _NEEDS),
    Check(codes.CLOUD, cloud, _NEEDS),
    Check(codes.PROJECT, project, ("lab", "claude")),
    Check(codes.TWO_CLAUDES, two_claudes, _NEEDS),
    Check(codes.VERSION, version, _NEEDS),
    Check(codes.PROXY, proxy, ("lab", "claude")),
    Check(codes.REFERENCE, reference, _NEEDS),
)
CLAUDE = Group(
    "KT2", "Claude Code", tuple(sorted(_CHECKS, key=lambda check: check.code.id)), _absent
)
