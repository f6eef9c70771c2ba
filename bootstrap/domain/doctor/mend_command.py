"""The command in what a finding says about its mend, for those who run it as it stands."""

import re

_COMMAND = re.compile(
    r"(?:\(cd|chmod|export|git|loginctl|(?:OLLAMA_HOST=\S+ )?ollama|rm|sed|systemctl|unset) |"
    r"keyturn (?:apply|doctor|rotate|service)\b"
)
# What follows a command: another way, or what it does.
_MORE = re.compile(r", (?:or|but|and|which)\b")


def command_in(mend: str) -> str:
    """Return the shell command that `mend` begins with, without what else it says.

    Empty where a person has to edit or decide something.
    """
    return _MORE.split(mend, maxsplit=1)[0] if _COMMAND.match(mend) else ""
