"""Look at the keyrings that the lab names: do they answer, and is there plaintext beside them?"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePath

from bootstrap.adapters.gathering import Scene
from bootstrap.adapters.keyring import KeyringProvider, plaintext_file, plaintext_leftovers
from bootstrap.adapters.keyring_ask import says_none_is_there
from bootstrap.domain.doctor.facts_secrets import KeyringFacts, KeyringProblem
from bootstrap.domain.errors import LabError, ProviderUnavailableError, SecretError
from bootstrap.domain.ref import SecretRef

# Less than doctor has in all: the sources after a keyring that hangs are asked, too.
ANSWER_S = 3.5


def observe_keyring(scene: Scene) -> KeyringFacts | None:
    """Return what was seen of the keyrings; None for no lab, or one that names none."""
    specs = scene.lab.secrets.values() if scene.lab else ()
    refs = [ref for spec in specs for ref in spec.sources if ref.scheme == "keyring"]
    if not refs:
        return None
    asked_first = [spec.sources[0] for spec in specs if spec.sources[0] in refs]
    # One of each service, since what opens a keyring for one entry opens it for all.
    one = {ref.place: ref for ref in [*reversed(refs), *asked_first]}
    return KeyringFacts(
        PurePath(plaintext_file()),
        tuple(_problems(one.values(), asked_first)),
        tuple(_leftovers(refs)),
    )


def _problems(
    refs: Iterable[SecretRef], asked_first: Collection[SecretRef]
) -> Iterator[KeyringProblem]:
    """Yield what is wrong; that there is no keyring at all only where it is asked first."""
    provider = KeyringProvider("/", timeout_s=ANSWER_S)
    for ref in refs:
        try:
            provider.read(ref)
        except ProviderUnavailableError as error:
            first = ref in asked_first
            if first or not says_none_is_there(error):
                yield KeyringProblem(str(ref), error.why, error.fix, first)
        except SecretError:  # it answers, and has no such entry
            continue


def _leftovers(refs: list[SecretRef]) -> Iterator[tuple[str, str]]:
    wanted = {(ref.place, ref.name.lower()) for ref in refs}
    for service in dict.fromkeys(ref.place for ref in refs):
        for name in _names(service):
            if (service, name) in wanted:
                yield service, name


def _names(service: str) -> tuple[str, ...]:
    try:
        return plaintext_leftovers(service)
    except LabError:  # no file of keyrings.alt's
        return ()
