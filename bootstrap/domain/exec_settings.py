"""What `keyturn exec` needs of a lab file, and how it is remembered as text.

Parsing `lab.toml` takes 15 ms and more with each model in it, so what comes out is kept beside
other caches. References and names only, never a value.
"""

from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret_spec import SecretSpec, exec_names, parse_secret_specs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ExecSettings:
    """The secrets of a lab and those that a program gets by default.

    Attributes:
        specs: By name.
        names: What stands under [exec].
    """

    __slots__ = ("names", "specs")

    def __init__(self, specs: "dict[str, SecretSpec]", names: "tuple[str, ...]") -> None:
        self.specs = specs
        self.names = names


def parse_exec_settings(document: "Mapping[str, Any]", file: str) -> ExecSettings:
    """Return what a parsed lab file says.

    Raises:
        ConfigError: The [secrets] or [exec] table is malformed.
    """
    return ExecSettings(parse_secret_specs(document, file), exec_names(document, file))


def to_text(settings: ExecSettings) -> str:
    """Return lines that `from_text` reads: no name and no reference holds a tab or a newline."""
    lines = ["\t".join(settings.names)]
    for name, spec in settings.specs.items():
        lines.append("\t".join((name, "?" if spec.optional else "", *map(str, spec.sources))))
    return "\n".join(lines)


def from_text(text: str) -> ExecSettings:
    """Return what `to_text` wrote."""
    first, *lines = text.split("\n")
    specs = {}
    for line in lines:
        name, optional, *sources = line.split("\t")
        refs = tuple([SecretRef.parse(source) for source in sources])
        specs[name] = SecretSpec(name, refs, bool(optional))
    return ExecSettings(specs, tuple(first.split("\t")) if first else ())
