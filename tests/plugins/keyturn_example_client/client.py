"""A client from a package, as small as one can be: a program `example` that reads one TOML file."""

from bootstrap.domain.client import HELPER, LITERAL, ClientFile, Preset, Setup, Way

_FILE = "example-settings"

CLIENT = Preset(
    "example",
    key=("EXAMPLE_KEY",),
    environment={"EXAMPLE_URL": "{gateway}/v1", "EXAMPLE_MODEL": "{model}"},
    remove=("EXAMPLE_CONFIG",),
    setup=Setup(
        title="Example",
        program="example",
        tested=("2.0.0", "2.1.0"),
        ways=(
            Way(
                HELPER,
                target=_FILE,
                switch=None,
                learns="asks for the key each time",
                why="no key at rest",
                reloads=True,
                since="2.0.0",
                does="runs key_command",
            ),
            Way(
                LITERAL,
                target=_FILE,
                switch=None,
                learns="at its next start",
                why="the key stands in its own settings",
            ),
        ),
        default=LITERAL,
        probe=("ask", "--model", "{model}", "hi"),
        files=(
            ClientFile(
                _FILE,
                base="config",
                path="example/settings.toml",
                template="example/settings.toml.j2",
                check="toml",
                needs=("server.url", "models.0"),
                key_at=("server.key",),
            ),
        ),
    ),
)
