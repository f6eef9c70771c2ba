"""The GitHub action and the GitLab job, run for real by offline runners, and linted."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support import ci_runners, droid
from support.ci_runners import commit, copy_checkout, run, runner_environment
from support.homes import REPOSITORY
from support.litellm import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# In two halves, since the jobs have this very file in their checkout.
KEY = "sk-test-ci-" + "runner-0123456789abcdef"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    server = Upstream(tmp_path)
    yield server
    server.stop()


@pytest.fixture(params=["stand-in", "droid"])
def droid_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a `droid`: a stand-in of some lines, and the real one."""
    if request.param == "droid":
        return droid.binary().parent
    droid.write_stand_in(tmp_path / "bin" / "droid")
    return tmp_path / "bin"


def gateway(upstream: Upstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


def the_request(upstream: Upstream) -> dict[str, object]:
    """Return the one request for the job's model; the key came with it."""
    (request,) = upstream.requests("lab-echo")
    assert request["authorization"] == f"Bearer {KEY}"
    return request


def test_a_github_job_runs_droid_with_the_key_and_its_log_hides_it(
    tmp_path: Path, droid_folder: Path, upstream: Upstream, leaks: ModuleType
) -> None:
    act, home, checkout = ci_runners.python_tool("act"), tmp_path / "runner", tmp_path / "checkout"
    home.mkdir()
    copy_checkout(checkout)
    workflow = (REPOSITORY / "ci" / "github-workflow.yml").read_text()
    action = next(line.split("uses: ")[1] for line in workflow.splitlines() if "your-org/" in line)
    folder = checkout / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "review.yml").write_text(workflow.replace(action, "./"))
    (tmp_path / "secrets").write_text(f"LITELLM_KEY={KEY}\n")
    environment = runner_environment(home)
    environment["PATH"] = f"{droid_folder}:{environment['PATH']}"
    words = ["pull_request", "-P", "ubuntu-latest=-self-hosted"]
    words += [
        "--secret-file",
        str(tmp_path / "secrets"),
        "--var",
        f"LITELLM_GATEWAY={gateway(upstream)}",
    ]
    done = run([act, *words], environment, checkout)
    assert done.returncode == 0, done.stdout
    assert "pong from mock" in done.stdout
    assert "Name each defect with file and line." in str(the_request(upstream)["body"])
    if "I found" in done.stdout:
        (shown,) = [line for line in done.stdout.splitlines() if "I found" in line]
        assert shown.endswith("I found <KEYTURN_CLIENT_KEY> <KEYTURN_CLIENT_KEY>")
        assert "['KEYTURN_CLIENT_KEY']" in done.stdout, done.stdout[-1500:]
    assert leaks.find(KEY, [home, checkout], texts={"log": done.stdout}) == []


def test_a_gitlab_job_runs_droid_with_the_key_and_its_log_hides_it(
    tmp_path: Path, droid_folder: Path, upstream: Upstream, leaks: ModuleType
) -> None:
    program, home, project = ci_runners.gitlab_ci_local(), tmp_path / "runner", tmp_path / "project"
    home.mkdir()
    (home / ".gitlab-ci-local").mkdir()
    store = home / ".gitlab-ci-local" / "variables.yml"
    store.write_text(f"---\nglobal:\n  LITELLM_MASTER_KEY: {KEY}\n")
    revision = copy_checkout(tmp_path / "checkout")
    (project / "ci").mkdir(parents=True)
    (project / "ci" / "keyturn.yml").write_text((REPOSITORY / "ci" / "gitlab.yml").read_text())
    (project / ".gitlab-ci.yml").write_text(
        "include:\n  - local: ci/keyturn.yml\n    inputs:\n"
        f"      repository: {tmp_path / 'checkout'}\n      commit: {revision}\n"
        f"      gateway: {gateway(upstream)}\n      model: lab-echo\n      image: none\n"
        "      prompt: \"say 'hi' to `id`\"\n"
    )
    commit(project)
    environment = runner_environment(home)
    environment["PATH"] = f"{droid_folder}:{environment['PATH']}"
    words = ["droid-exec", "--force-shell-executor", "--variable", "GITLAB_CI=true"]
    done = run([program, *words], environment, project)
    assert done.returncode == 0, done.stdout
    assert "pong from mock" in done.stdout
    assert "LITELLM_MASTER_KEY: can be masked" in done.stdout
    assert "say 'hi' to `id`" in str(the_request(upstream)["body"])
    if "I found" in done.stdout:
        assert "I found <KEYTURN_CLIENT_KEY> <KEYTURN_CLIENT_KEY>" in done.stdout
    places = [home, project, tmp_path / "checkout"]
    assert leaks.find(KEY, places, texts={"log": done.stdout}, allowed=[store]) == []


def test_the_action_and_the_jobs_fit_their_schemas(tmp_path: Path) -> None:
    checker = ci_runners.python_tool("check-jsonschema")
    gitlab = (REPOSITORY / "ci" / "gitlab.yml").read_text().split("\n---\n")[1]
    (tmp_path / "gitlab.yml").write_text(gitlab)
    for schema, path in (
        ("github-actions", REPOSITORY / "action.yml"),
        ("github-workflows", REPOSITORY / "ci" / "github-workflow.yml"),
        ("gitlab-ci", tmp_path / "gitlab.yml"),
    ):
        words = ["--builtin-schema", f"vendor.{schema}", path]
        done = run([checker, *words], runner_environment(tmp_path), tmp_path)
        assert done.returncode == 0, done.stdout


def test_a_security_linter_finds_nothing_in_them(tmp_path: Path) -> None:
    linter = ci_runners.python_tool("zizmor")
    paths = [REPOSITORY / "action.yml", REPOSITORY / "ci" / "github-workflow.yml"]
    done = run([linter, "--offline", *paths], runner_environment(tmp_path), tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_security_linter_would_find_an_injection(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    text = (REPOSITORY / "action.yml").read_text()
    (tmp_path / "action.yml").write_text(text.replace('"$ACTION_MODEL"', '"${{ inputs.model }}"'))
    linter = ci_runners.python_tool("zizmor")
    words = ["--offline", tmp_path / "action.yml"]
    done = run([linter, *words], runner_environment(tmp_path), tmp_path)
    assert "template-injection" in done.stdout
    assert done.returncode != 0
