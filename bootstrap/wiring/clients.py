"""What `keyturn exec --client NAME` adds: addresses, models, a key of its own, a private file.

How `exec` uses it (this module is imported only where `--client` is given):

    prepared = prepare(client, root, ClientOptions(model=…, …))
    # resolve every secret of prepared.names.values(), instead of the defaults under [exec]
    environment = child_environment(…)          # without the names in prepared.remove,
    environment |= prepared.environment         # with these,
    environment[variable] = secret              # and for each (variable, name) of prepared.names
    if prepared.supervise is None:
        become(argv, environment)
    return prepared.supervise(argv, environment)
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bootstrap.domain.secret import Secret


class ClientOptions:
    """What the command line says about the client.

    Attributes:
        model: `--model`, an alias; None for the lab's first model for this client.
        gateway: `--gateway URL`, for a machine without a lab, such as a CI job; else None.
        key: `auto`; `ephemeral` (`--ephemeral`); `master` (`--master`).
        trust_project: `--trust-project`.
    """

    __slots__ = ("gateway", "key", "model", "trust_project")

    def __init__(
        self,
        *,
        model: str | None = None,
        gateway: str | None = None,
        key: str = "auto",
        trust_project: bool = False,
    ) -> None:
        self.model = model
        self.gateway = gateway
        self.key = key
        self.trust_project = trust_project


class Prepared:
    """How the program is to be run.

    Attributes:
        environment: Variables to set; none of them is secret.
        remove: Variables that the program must not see, unless `--keep` or `--secret` names them.
        names: Variable -> name of the lab's secret that it carries; empty where the program gets
            a key of its own.
        notes: Lines for standard error.
        supervise: None where the program can simply replace this process. Else runs it to its
            end and returns its exit status: `supervise(argv, environment)`, or with a third
            argument `run(argv, environment, issued) -> status` that runs it in another way, for
            example masked; `issued` are the keys that were made for this run. Ends this process
            by the signal that ended the program, where one did.
    """

    __slots__ = ("environment", "names", "notes", "remove", "supervise")

    def __init__(
        self,
        environment: "Mapping[str, str]",
        remove: "tuple[str, ...]",
        names: "Mapping[str, str]",
        supervise: "Supervise | None" = None,
        notes: "tuple[str, ...]" = (),
    ) -> None:
        self.environment = environment
        self.remove = remove
        self.names = names
        self.supervise = supervise
        self.notes = notes


if TYPE_CHECKING:
    Run = Callable[[Sequence[str], Mapping[str, str], tuple[Secret, ...]], int]
    Supervise = Callable[..., int]


def prepare(client: str, root: str | None, options: ClientOptions) -> Prepared:
    """Return how a program is run as the client `client`. Changes nothing yet.

    Args:
        client: `droid`, `claude`, `openai` or a table under [clients] in lab.toml.
        root: The lab's folder, or None where there is none (then `options.gateway` must be given).
        options: See `ClientOptions`.

    Raises:
        UsageError: There is no such client or model, or no gateway to talk to.
        ConfigError: The lab file is malformed, or a settings file of the project would send the
            key to another host.
    """
    raise NotImplementedError
