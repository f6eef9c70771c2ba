"""What each client has to do next, in words that can be pasted. Never a value."""

import shlex

from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret_spec import MASTER_KEY


def next_steps(lab: Lab, places: Places, keyturn: str) -> tuple[tuple[str, str], ...]:
    """Return (client, what to do) for each client that the lab serves.

    Args:
        lab: The lab.
        places: This machine's homes.
        keyturn: What calls keyturn for that lab, as a shell reads it.
    """
    url = lab.gateway.url
    served = {client for model in lab.models for client in model.clients}
    first = next((m.alias for m in lab.models if "droid" in m.clients), None)
    steps: list[tuple[str, str]] = []
    literal = (lab.pinned_way("droid") or "literal") == "literal"
    if first is not None and lab.switches.droid_settings and literal:
        steps.append(("droid", f'droid exec -m custom:{first} "hi"  (interactive: /model)'))
    if "claude" in served and lab.switches.claude_settings:
        steps.append(("Claude Code", "claude"))
    elif "claude" in served:
        token = f'"$({keyturn} get {lab.key_name("claude")})"'
        alias = next(m.alias for m in lab.models if "claude" in m.clients)
        steps.append(
            (
                "Claude Code",
                f"env -u ANTHROPIC_API_KEY ANTHROPIC_BASE_URL={url} "
                f"ANTHROPIC_AUTH_TOKEN={token} ANTHROPIC_MODEL={alias} claude",
            )
        )
    if "openwebui" in served:
        name = lab.key_name("openwebui")
        steps.append(("Open WebUI", f"API base {url}/v1, key from: {keyturn} get {name}"))
    if lab.switches.envrc:
        steps.append(("shell", f"cd {shlex.quote(str(lab.root))} && direnv allow"))
    steps.append(
        (
            "CI",
            f"{MASTER_KEY} from the pipeline's secret store, then: {keyturn} exec -- droid exec …",
        )
    )
    if lab.switches.droid_key_helper:
        managed = places.config / "keyturn" / "droid-managed.json"
        steps.append(
            (
                "droid without a key on disk",
                f"export FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH={shlex.quote(str(managed))}",
            )
        )
    return tuple(steps)
