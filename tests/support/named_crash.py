"""Kill a rotation of several secrets at its system calls; see `support.crash`."""

from support import leaks
from support.crash import Crash
from support.named_labs import REDIS, NamedLab

MASTER = "LITELLM_MASTER_KEY"
NAMES = (MASTER, "KEYTURN_INTERNAL_KEY", REDIS)


class NamedCrash(Crash):
    """A lab in which `rotate --all` is disturbed again and again.

    Attributes:
        named: The lab and what is around it.
        values: What was in force when it was last verified, by name.
    """

    def __init__(self, named: NamedLab) -> None:
        self.named = named
        super().__init__(named.lab, ("rotate", "-q", "--all"))
        self.values = self._stored()

    def verify(self, new: str) -> None:
        """Prove that all are new or all are old, everywhere, and nothing else changed."""
        stored = self._stored()
        changed = {name for name in NAMES if stored[name] != self.values[name]}
        assert changed in (set(), set(NAMES)), f"only {changed} changed"
        assert self.accepts(stored[MASTER]), "the stored key is not accepted"
        assert self.named.opens_redis(stored[REDIS]), "Redis refuses the stored password"
        env = self.named.gateway_env
        assert all(stored[name] in env for name in NAMES[1:])
        assert self.lab.env_file.read_text().count(stored[MASTER]) == 1
        assert self.named.agrees()
        assert self._foreign_bytes() == self._foreign, "somebody else's bytes changed"
        if changed:
            assert not self.accepts(self.values[MASTER]), "both keys are accepted"
            assert not self.named.opens_redis(self.values[REDIS]), "Redis takes both"
        self._find_strays(self.values if changed else {}, stored)
        self.values = stored

    def judge(self, code: int, new: str) -> str:
        """Prove that the exit status told the truth, then recover and verify; return it."""
        same = self._stored() == self.values
        if code in (0, 1, 5):
            assert same == (code != 0)
        self.recover()
        self.verify(new)
        return str(code)

    def _stored(self) -> dict[str, str]:
        return {name: self.lab.value(name) for name in NAMES}

    def _find_strays(self, gone: dict[str, str], stored: dict[str, str]) -> None:
        lab = self.lab
        roots = (lab.root, lab.home)
        texts = {f"run {number}": text for number, text in enumerate(lab.said) if text}
        for value in gone.values():
            assert leaks.find(value, roots, texts=texts) == []
        allowed = [lab.env_file, lab.settings]
        assert leaks.find(stored[MASTER], roots, texts=texts, allowed=allowed) == []
        lab.said.clear()

    def _foreign_bytes(self) -> dict[str, bytes]:
        files = (self.lab.file, self.lab.root / ".sops.yaml", self.named.keys)
        return {str(path): path.read_bytes() for path in files}
