"""KT201, KT205, KT207 to KT210, KT213, KT214, KT217: does the right key reach the gateway?"""

import shlex
from collections.abc import Iterator
from pathlib import PurePath

from bootstrap.domain.client import LITERAL
from bootstrap.domain.doctor import codes_claude as codes
from bootstrap.domain.doctor.check import Check
from bootstrap.domain.doctor.claude_settings import (
    API_KEY,
    KEYS,
    REFERENCE,
    TOKEN,
    URL,
    Value,
    claude_of,
    helper_of,
    in_file,
    is_led_to_gateway,
    value_of,
)
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.finding import Change, FileFix, Fill, Finding
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.doctor.shell_keys import BASE_URL, Literal, literals_in, with_command
from bootstrap.domain.endpoints import endpoint, safe_url, shown
from bootstrap.domain.json_members import remove_member, set_member
from bootstrap.domain.jsonc import parse, plain
from bootstrap.domain.secret_spec import MASTER_KEY

_UNPIN = 'write hand_over = "helper" under [clients.claude] in lab.toml, then keyturn apply'


def both_keys(seen: Observations) -> Iterator[Finding]:
    """Find an API key beside another way to sign in."""
    api_key = value_of(seen, API_KEY)
    if api_key is None:
        return
    if value_of(seen, TOKEN) is not None:
        beside = f"{TOKEN} is set, too"
    elif helper_of(seen):
        beside = "there is an apiKeyHelper"
    else:
        return
    words = f"{api_key.where} {API_KEY}, and {beside}"
    yield codes.BOTH_KEYS.warning(words, mend=_taken_out(api_key, seen))


def _taken_out(value: Value, seen: Observations) -> str:
    """Return how to take a variable out of the settings; empty where it is the shell's."""
    path = seen.show(claude_of(seen).settings.path)
    return f"take env.{value.name} out of {path}" if value.in_file else ""


def helper_shadowed(seen: Observations) -> Iterator[Finding]:
    """Find a token that wins over a helper."""
    token = value_of(seen, TOKEN)
    if token is not None and helper_of(seen):
        yield codes.HELPER_SHADOWED.warning(f"{token.where} {TOKEN}", mend=_taken_out(token, seen))


def key_differs(seen: Observations) -> Iterator[Finding]:
    """Find keys for the gateway that are not in force."""
    if not is_led_to_gateway(seen):
        return
    for value in _credentials(seen):
        if seen.is_in_force(value.key) or REFERENCE.fullmatch(value.text):
            continue
        current = seen.key.fingerprint() if seen.key else "?"
        words = f"{value.where} {value.name} {value.key.fingerprint()}, in force is {current}"
        fix = _helper_instead(seen) if value.in_file and not _is_written(seen) else ()
        shell = f'export {value.name}="$(keyturn get {MASTER_KEY})", or start a new shell'
        in_file = "keyturn doctor --fix KT208" if fix else "keyturn apply"
        mend = in_file if value.in_file else shell
        yield codes.KEY_DIFFERS.error(words, mend=mend, fix=fix)


def _is_written(seen: Observations) -> bool:
    """Tell whether keyturn writes the settings, so that no other helper may come into them."""
    return seen.lab is not None and seen.lab.switches.claude_settings


def _credentials(seen: Observations) -> Iterator[Value]:
    """Yield the token, or, where there is none and no helper, the API key."""
    token, api_key = value_of(seen, TOKEN), value_of(seen, API_KEY)
    if token is not None:
        yield token
    elif api_key is not None and not helper_of(seen):
        yield api_key


def literal(seen: Observations) -> Iterator[Finding]:
    """Note keys that stand in the settings as plain text."""
    block = in_file(seen)
    for name in KEYS:
        value = Value(name, block.get(name, ""), in_file=True)
        if value.text and is_led_to_gateway(seen) and seen.is_in_force(value.key):
            where = seen.show(claude_of(seen).settings.path)
            words = f"{where} holds {value.key.fingerprint()} as {name}"
            if seen.lab is not None and _is_written(seen):
                pinned = seen.lab.pinned_way("claude") == LITERAL
                yield codes.LITERAL.note(words, mend=_UNPIN if pinned else "keyturn apply")
            else:
                yield codes.LITERAL.note(words, fix=_helper_instead(seen, on_request=True))


def _helper_instead(seen: Observations, *, on_request: bool = False) -> FileFix:
    """Return the fix that takes the keys out of the settings and has keyturn asked instead."""
    command = shlex.join(_get(seen, seen.lab.key_name("claude") if seen.lab else MASTER_KEY))

    def change(data: bytes | None, _: Fill) -> bytes | None:
        for name in KEYS if data is not None else ():
            data = remove_member(data or b"", ("env", name))
        root = plain(parse(data).root) if data is not None else {}
        helped = isinstance(root, dict) and root.get("apiKeyHelper")
        return (
            data
            if helped and not claude_of(seen).helper_gone
            else set_member(data, ("apiKeyHelper",), command)
        )

    path = claude_of(seen).settings.path
    return FileFix(path, "keyturn get is asked for the key", change, on_request=on_request)


def _get(seen: Observations, name: str = MASTER_KEY) -> list[str]:
    lab = ["--lab", str(seen.lab.root)] if seen.lab else []
    return [seen.keyturn, "get", name, *lab]


def helper_gone(seen: Observations) -> Iterator[Finding]:
    """Find a helper whose program is not there."""
    gone = claude_of(seen).helper_gone
    if gone:
        where = seen.show(claude_of(seen).settings.path)
        words = f"{where}: apiKeyHelper runs {shown(gone)}, which is no program here"
        fix = _helper_instead(seen) if PurePath(gone).name == "keyturn" else ()
        yield codes.HELPER_GONE.error(words, fix=fix)


def mode(seen: Observations) -> Iterator[Finding]:
    """Find settings with a key in them that others can read."""
    file = claude_of(seen).settings
    block = in_file(seen)
    if file.state is not None and file.state.mode & 0o077 and any(block.get(n) for n in KEYS):
        words = f"{seen.show(file.path)} has the mode {file.state.mode:04o}"
        fix = FileFix(file.path, "mode 0600", mode=0o600)
        yield codes.MODE.error(words, mend=f"chmod 600 {shlex.quote(str(file.path))}", fix=fix)


def no_key(seen: Observations) -> Iterator[Finding]:
    """Find Claude Code led to the gateway without a key."""
    if is_led_to_gateway(seen) and not helper_of(seen) and not any(_credentials(seen)):
        yield codes.NO_KEY.error(f"{URL} leads to {seen.gateway_url}, and no key is set")


def key_elsewhere(seen: Observations) -> Iterator[Finding]:
    """Find the gateway's key set for another host."""
    if is_led_to_gateway(seen):
        return
    url = value_of(seen, URL)
    for value in _credentials(seen):
        if seen.is_in_force(value.key):
            where = safe_url(url.text) if url else "Anthropic, since ANTHROPIC_BASE_URL is not set"
            words = f"{value.where} {value.name} {value.key.fingerprint()}, which goes to {where}"
            yield codes.KEY_ELSEWHERE.error(words, mend=f"export {URL}={seen.gateway_url}")


def old_session(seen: Observations) -> Iterator[Finding]:
    """Find running processes with an old key."""
    for program in claude_of(seen).running:
        key = program.keys.get(TOKEN)
        if key is not None and not seen.is_in_force(key):
            words = f"process {program.pid} ({program.name}) has {TOKEN} {key.fingerprint()}"
            yield codes.OLD_SESSION.warning(f"{words}, which is not in force")


def shell_key(seen: Observations) -> Iterator[Finding]:
    """Find keys of the gateway's in the start files of shells."""
    for file in claude_of(seen).shell_files:
        found = [item for item in literals_in(file.data or b"") if _is_ours(item, file, seen)]
        for item in found:
            stale = not seen.is_in_force(item.key)
            verdict = codes.SHELL_KEY.error if stale else codes.SHELL_KEY.warning
            words = f"{seen.show(file.path)}:{item.line} sets {item.name} {item.key.fingerprint()}"
            state = ", which is not in force" if stale else ""
            able = item.safe and _can_be_asked(seen)
            mend = "" if able else f"take it out of {seen.show(file.path)}; see keyturn shell-init"
            yield verdict(
                f"{words}{state}", mend=mend, fix=_ask_instead(file, seen) if able else ()
            )


def _is_ours(item: Literal, file: FoundFile, seen: Observations) -> bool:
    """Tell whether a literal is a key of the gateway's, in force or stale."""
    if item.name == MASTER_KEY or seen.is_in_force(item.key):
        return True
    urls = BASE_URL.findall((file.data or b"").decode("utf-8", "replace"))
    led = bool(urls) and all(endpoint(url) == endpoint(seen.gateway_url) for url in urls)
    return led and item.name == TOKEN


def _can_be_asked(seen: Observations) -> bool:
    """Tell whether the command needs no quotes, so that it can stand between some."""
    return seen.lab is not None and all(shlex.quote(word) == word for word in _get(seen))


def _ask_instead(file: FoundFile, seen: Observations) -> FileFix:
    def change(data: bytes | None, _: Fill) -> bytes | None:
        if data is None:
            return None
        found = [item for item in literals_in(data) if item.safe and _is_ours(item, file, seen)]
        return with_command(data, found, " ".join(_get(seen)))

    return _shell_fix(file, change)


def _shell_fix(file: FoundFile, change: Change) -> FileFix:
    return FileFix(file.path, "keyturn get takes the key's place", change)


_NEEDS = ("claude",)
KEY_CHECKS = (
    Check(codes.BOTH_KEYS, both_keys, _NEEDS),
    Check(codes.SHELL_KEY, shell_key, ("lab", "key", "claude")),
    Check(codes.HELPER_SHADOWED, helper_shadowed, _NEEDS),
    Check(codes.KEY_DIFFERS, key_differs, ("lab", "key", "claude")),
    Check(codes.LITERAL, literal, ("lab", "key", "claude")),
    Check(codes.MODE, mode, _NEEDS),
    Check(codes.NO_KEY, no_key, ("lab", "claude")),
    Check(codes.KEY_ELSEWHERE, key_elsewhere, ("lab", "key", "claude")),
    Check(codes.HELPER_GONE, helper_gone, ("lab", "claude")),
    Check(codes.OLD_SESSION, old_session, ("key", "claude")),
)
