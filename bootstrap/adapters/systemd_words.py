"""What systemd says about a unit, in our own words: its own messages may quote anything."""

from collections.abc import Mapping

# The exit statuses that systemd gives when it cannot even run the program (systemd.exec(5)).
_BEFORE_THE_PROGRAM = {
    200: "its working folder cannot be entered",
    203: "its program is missing or cannot be run",
    218: "this system does not allow its capabilities",
    226: "this system does not allow its sandbox",
    228: "this system does not allow its system call filter",
}
_RESULTS = {
    "resources": "its environment file or another resource cannot be read",
    "start-limit-hit": "it was restarted too often in a short time",
    "timeout": "it did not start or stop in time",
    "oom-kill": "the machine ran out of memory",
    "core-dump": "its program crashed",
}


def describe(found: Mapping[str, str]) -> str:
    """Return one clause for people about what `systemctl show` says."""
    load, active = found.get("LoadState", ""), found.get("ActiveState", "")
    if load == "masked":
        return "it is masked, so systemd refuses to start it"
    if load == "not-found":
        return "its unit file is not installed"
    if load in ("bad-setting", "error"):
        return "its unit file has a setting that systemd does not take"
    if active == "active":
        return f"active ({found.get('SubState')})"
    reason = _reason(found)
    if not reason:
        return active
    if found.get("SubState") == "auto-restart":
        return f"{reason}; systemd tries again (restart {found.get('NRestarts')})"
    return f"{active}: {reason}"


def _reason(found: Mapping[str, str]) -> str:
    result, status = found.get("Result", ""), int(found.get("ExecMainStatus") or 0)
    if result in ("", "success"):
        return ""
    if result == "exit-code":
        return _BEFORE_THE_PROGRAM.get(status, f"its program ended with status {status}")
    if result == "signal":
        return f"its program was killed by signal {status}"
    return _RESULTS.get(result, result)
