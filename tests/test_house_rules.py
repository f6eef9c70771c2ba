"""Rules of this repository that a machine can check. CONTRIBUTING.md says why they are there."""

import ast
import importlib
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from support.homes import REPOSITORY, environment

PACKAGE = REPOSITORY / "bootstrap"
TESTS = REPOSITORY / "tests"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_MODULES = sorted(TESTS.rglob("*.py"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

# `gateway/` runs inside LiteLLM's process, whose master key it never sees as a Secret.
MAY_REVEAL = ("adapters/", "domain/secret.py", "domain/template.py", "gateway/")
MOST_LINES = 300
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Written in two halves, so that this file does not break its own rules.
REMINDERS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
UNCOVERED = "pragma: no " + "cover"
OF_ONE_MACHINE = re.compile(
    r"pypi\." + r"org|python" + r"hosted|npm" + r"js\.|(?<![\w.}-])/wo" + r"rk(?:/|\b)"
)


def project_files() -> list[Path]:
    """Return every file that is tracked or would be."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [REPOSITORY / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    """Return `file:line` for each line of the project's text files where `pattern` is found."""
    return [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def uses_of(names: set[str], modules: list[Path], root: Path) -> dict[str, list[int]]:
    """Return where an attribute in `names` of anything but `self` is used: path -> lines."""
    found: dict[str, list[int]] = {}
    for module in modules:
        text = module.read_text()
        if not any(f".{name}" in text for name in names):
            continue  # which spares parsing nearly all of them
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Attribute) or node.attr not in names:
                continue
            if not isinstance(node.value, ast.Name) or node.value.id != "self":
                found.setdefault(str(module.relative_to(root)), []).append(node.lineno)
    return found


def test_secrets_are_revealed_only_where_they_leave_the_process() -> None:
    callers = uses_of({"reveal"}, MODULES, PACKAGE)
    assert callers, "the search finds nothing at all: it is broken"
    assert [path for path in callers if not path.startswith(MAY_REVEAL)] == []


def test_nothing_reaches_around_reveal_into_a_secret() -> None:
    assert set(uses_of({"_text"}, MODULES, PACKAGE)) <= {"domain/secret.py"}


def says_what_it_is_for(module: Path) -> bool:
    """Tell whether a module begins with a docstring, after comments at most."""
    with module.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL):
                return token.type == tokenize.STRING and token.string.startswith('"""')
    return False


def test_every_module_says_what_it_is_for() -> None:
    assert [str(path) for path in MODULES + TEST_MODULES if not says_what_it_is_for(path)] == []


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {str(m.relative_to(PACKAGE)): len(m.read_text().splitlines()) for m in MODULES}
    assert {path: n for path, n in lengths.items() if n > MOST_LINES} == {}


def test_nothing_here_hides_the_secrets_module_of_python() -> None:
    """A secrets/__init__.py takes `secrets.token_urlsafe` away from `python -m bootstrap`."""
    assert list((REPOSITORY / "secrets").rglob("*.py")) == []
    assert not (REPOSITORY / "secrets.py").exists()


@pytest.mark.integration
def test_nothing_is_left_for_later() -> None:
    assert lines_that_match(REMINDERS) == []


@pytest.mark.integration
def test_no_file_names_a_package_index_or_a_folder_of_one_machine() -> None:
    assert lines_that_match(OF_ONE_MACHINE) == []


def test_every_template_begins_with_a_comment() -> None:
    templates = [path for path in (REPOSITORY / "templates").rglob("*") if path.is_file()]
    assert len(templates) > 5
    for template in templates:
        if template.name != ".keep":
            first = template.read_text().splitlines()[0].lstrip()
            assert first.startswith(("#", "{#", "//", ";", "<!--")), template


def entry_points() -> Iterator[str]:
    for group in PROJECT["project"].get("entry-points", {}).values():
        yield from group.values()


@pytest.mark.parametrize("target", list(entry_points()))
def test_every_entry_point_leads_to_something_callable(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def heading_anchors(markdown: Path) -> set[str]:
    """Return the anchors of a file's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", markdown.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.integration
def test_every_relative_link_in_the_documents_leads_somewhere() -> None:
    broken = []
    for document in (path for path in project_files() if path.suffix == ".md"):
        prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (document.parent / path) if path else document
            lost = anchor and there.suffix == ".md" and anchor not in heading_anchors(there)
            if not there.exists() or lost:
                broken.append(f"{document.relative_to(REPOSITORY)}: {target}")
    assert broken == []


@pytest.mark.integration
def test_no_test_may_step_aside_and_no_line_may_hide_from_coverage() -> None:
    evasions = {"skip", "skipif", "skipIf", "xfail", "importorskip"}
    assert uses_of(evasions, TEST_MODULES, TESTS) == {}
    assert lines_that_match(re.compile(UNCOVERED)) == []


def test_test_files_have_names_of_their_own_and_are_no_packages() -> None:
    names = Counter(path.name for path in TEST_MODULES)
    assert {name for name, n in names.items() if n > 1} == set()
    assert "__init__.py" not in names


def bound(node: ast.AST) -> set[str]:
    """Return the names that are imported or assigned in `node`, but for the type checker alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return set().union(*map(bound, node.orelse))
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(a.asname or a.name).partition(".")[0] for a in node.names}
    own = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()
    inside = (part for part in ast.iter_child_nodes(node) if not isinstance(part, FUNCTIONS))
    return own.union(*map(bound, inside))


def used(node: ast.AST, there: set[str]) -> Iterator[ast.Name]:
    """Yield the names that running `node` looks up and that are not `there`; no annotations."""
    if isinstance(node, FUNCTIONS):
        there = there | set().union(*map(bound, node.body))
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in there:
        yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.AST):
                    yield from used(part, there)


def lost_names(text: str) -> list[str]:
    """Return the names that only the type checker imports, and that the program needs as well."""
    tree = ast.parse(text)
    checks = [node for node in tree.body if isinstance(node, ast.If)]
    typed = [node.body for node in checks if ast.unparse(node.test).endswith("TYPE_CHECKING")]
    only = set().union(*(bound(node) for body in typed for node in body)) - bound(tree)
    return sorted({name.id for name in used(tree, bound(tree)) if name.id in only})


def test_what_only_the_type_checker_imports_is_not_needed_to_run() -> None:
    head = "if TYPE_CHECKING:\n    from rich.text import Text\n"
    there = "def shown():\n    from rich.text import Text\n    return Text()\n"
    assert lost_names(head + there) == []
    assert lost_names(f"{head}{there}def warn() -> 'Text':\n    return Text()\n") == ["Text"]
    texts = {path: path.read_text() for path in MODULES}
    typed = {path: text for path, text in texts.items() if "if TYPE_CHECKING" in text}
    assert len(typed) > 20
    assert {str(path): lost for path, text in typed.items() if (lost := lost_names(text))} == {}


IMPORT_ALL = """
import pkgutil, sys
def refuse(event, args):
    starts = event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn")
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if starts or writes or event in ("socket.connect", "socket.bind", "os.mkdir", "os.putenv"):
        raise AssertionError(f"{event} {args[0]!r} during an import")
import bootstrap
sys.addaudithook(refuse)
for found in pkgutil.walk_packages(bootstrap.__path__, "bootstrap."):
    if found.name != "bootstrap.__main__" and not found.name.startswith("bootstrap.gateway."):
        __import__(found.name)
        print(found.name)
"""


@pytest.mark.integration
def test_importing_any_module_does_nothing_but_define_things(home: Path) -> None:
    imported = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", IMPORT_ALL],
        env=environment(home),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert imported.returncode == 0, imported.stderr
    assert "bootstrap.domain.secret" in imported.stdout.split()
    assert list(home.iterdir()) == []


@pytest.mark.integration
def test_imports_point_only_downwards() -> None:
    """The layers and the contracts are in pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("kind", ["runtime", "build", "dev"])
def test_what_is_installed_is_pinned_by_hash_and_fits_the_project(kind: str) -> None:
    text = (REPOSITORY / "requirements" / f"{kind}.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([^ ]+)", text, re.MULTILINE))
    assert text.count("\n    # via") == len(pins) > 0
    assert len(re.findall(r"^[\w.-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins)
    wanted = {
        "runtime": PROJECT["project"]["dependencies"],
        "build": PROJECT["build-system"]["requires"],
        "dev": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
    }
    for line in wanted[kind]:
        requirement = Requirement(line)
        name = re.sub(r"[._-]+", "-", requirement.name).lower()
        assert name in pins, f"run scripts/lock.sh: {name} is not in requirements/{kind}.txt"
        assert requirement.specifier.contains(pins[name]), f"run scripts/lock.sh: {line}"


def test_every_script_can_be_run_and_stops_at_its_first_failure() -> None:
    scripts = [*(REPOSITORY / "scripts").glob("*.sh"), REPOSITORY / ".ci" / "run"]
    assert len(scripts) > 5
    for script in scripts:
        text = script.read_text()
        assert text.startswith("#!/usr/bin/env bash\n#"), f"{script}: no comment says what it does"
        assert script.stat().st_mode & 0o111 == 0o111, f"{script} is not executable"
        strict = "set -euo pipefail" in text or "lib/venv.sh" in text or "set -uo pipefail" in text
        assert strict, f"{script} goes on after a failure"
