"""The gateway is brought up, and what answers is proven to be it and to be closed."""

from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.domain.claims import States
from bootstrap.domain.errors import (
    GatewayError,
    KeptError,
    NotReadyError,
    OpenGatewayError,
    ServiceError,
)
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.ports import Listener, ServiceStatus
from bootstrap.workflows.gateway_up import (
    READY_BUDGET_S,
    bring_up,
    prove,
    require_own_listener,
    require_port_free,
)
from support.fakes import LAB, MASTER, FakeTools, make_tools, with_lab

KEY = Secret(MASTER)
SECRETS = {MASTER_KEY: KEY}
DEAD = ServiceStatus(False, None, "failed: exit-code")
SILENT = Answer(None, problem="connection refused")


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    """A lab whose env file is written, and whose gateway does not run."""
    tools = make_tools(tmp_path)
    env_file = Path(tools.places.env_file)
    env_file.parent.mkdir(parents=True)
    env_file.write_text(f"{MASTER_KEY}={MASTER}\n")
    return tools


class TestPort:
    def test_a_free_port_is_fine(self, tools: FakeTools) -> None:
        require_port_free(tools)

    @pytest.mark.parametrize(
        ("listener", "who"),
        [
            (Listener(4711, "python3"), "python3 (pid 4711) listens there"),
            (Listener(4711, ""), "a program (pid 4711) listens there"),
            (Listener(None, ""), "another user's program listens there"),
        ],
    )
    def test_a_taken_port_is_refused_before_anything_starts(
        self, tools: FakeTools, listener: Listener, who: str
    ) -> None:
        tools.ports.taken = listener
        with pytest.raises(GatewayError, match="port 4123 is taken") as caught:
            bring_up(tools, SECRETS, starts=True, reload=True)
        assert caught.value.why == who
        assert f"gateway.port in {tools.lab.file}" in caught.value.fix
        assert tools.service.calls == []

    @pytest.mark.parametrize(
        ("labs", "who", "stop"),
        [
            (
                {"/their lab": {}},
                "the gateway of the lab in /their lab listens there",
                "keyturn --lab '/their lab' service stop; or",
            ),
            (
                {},
                "a gateway of keyturn's, of no lab in this home (/their lab), listens there",
                "if that lab is gone: kill 4700; or",
            ),
        ],
    )
    def test_a_gateway_of_another_lab_there_is_named_with_what_ends_it(
        self, tools: FakeTools, labs: States, who: str, stop: str
    ) -> None:
        tools.ports.taken = Listener(4711, "python3", 4700, "/their lab")
        with pytest.raises(GatewayError) as caught:
            require_port_free(replace(tools, other_labs=lambda: labs))
        assert caught.value.why == who
        assert caught.value.fix.startswith(stop)


class TestBringUp:
    def test_a_start_and_a_restart_each_happen_once(self, tools: FakeTools) -> None:
        bring_up(tools, SECRETS, starts=True, reload=True)
        bring_up(tools, SECRETS, starts=False, reload=False)
        assert tools.service.calls == ["reset", "start", "swap"]
        assert tools.progress.steps == [
            "start litellm.service (systemd)",
            "wait until it answers on http://127.0.0.1:4123 (20 s is normal)",
            "restart litellm.service (systemd): a second one serves meanwhile",
            "wait until it answers on http://127.0.0.1:4123 (20 s is normal)",
        ]

    def test_a_slow_start_is_waited_for(self, tools: FakeTools) -> None:
        tools.gateway.answers["alive"] = SILENT

        def wake() -> None:
            if tools.clock.passed > 1060:
                tools.gateway.answers.clear()

        tools.clock.on_sleep = wake
        bring_up(tools, SECRETS, starts=True, reload=False)
        assert 60 < tools.clock.passed - 1000 < 61

    def test_a_manager_that_takes_a_moment_to_show_the_process_is_waited_for(
        self, tools: FakeTools
    ) -> None:
        tools.service.script = [ServiceStatus(False, None, "activating")] * 20
        bring_up(tools, SECRETS, starts=True, reload=False)

    def test_what_never_answers_ends_after_the_budget_with_the_log(self, tools: FakeTools) -> None:
        tools.gateway.answers["alive"] = Answer(503)
        tools.service.log = ["one", f"the key is {MASTER}", "api_key: hunter2"]
        with pytest.raises(GatewayError, match="does not answer on") as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert caught.value.why == f"HTTP 503 for {READY_BUDGET_S:.0f} s"
        assert READY_BUDGET_S <= tools.clock.passed - 1000 < READY_BUDGET_S + 1
        assert caught.value.fix.splitlines() == [
            "see its log, then: keyturn apply",
            "       | one",
            f"       | the key is <{MASTER_KEY} {KEY.fingerprint()}>",
            "       | api_key: <hidden>",
        ]

    def test_a_service_that_dies_after_it_ran_is_an_error_with_its_redacted_log(
        self, tools: FakeTools
    ) -> None:
        tools.gateway.answers["alive"] = SILENT
        tools.service.script = [ServiceStatus(True, 71, "active"), DEAD]
        tools.service.log = [f"line {n}" for n in range(30)] + [f"bad key {MASTER}"]
        with pytest.raises(ServiceError, match=r"litellm\.service starts and dies again") as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert caught.value.why == "failed: exit-code"
        shown = caught.value.fix.splitlines()
        assert len(shown) == 13
        assert MASTER not in caught.value.fix
        assert shown[-1] == f"       | bad key <{MASTER_KEY} {KEY.fingerprint()}>"

    def test_a_service_that_is_restarted_over_and_over_is_an_error(self, tools: FakeTools) -> None:
        tools.gateway.answers["alive"] = SILENT
        tools.service.script = [ServiceStatus(True, pid, "active") for pid in range(71, 80)]
        with pytest.raises(ServiceError, match="starts and dies again"):
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert tools.clock.passed - 1000 < 2

    def test_a_service_whose_process_never_appears_is_an_error_long_before_the_budget(
        self, tools: FakeTools
    ) -> None:
        tools.service.script = [DEAD] * 1000
        with pytest.raises(ServiceError, match="starts and dies again"):
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert 9 < tools.clock.passed - 1000 < 12

    def test_an_unreadable_log_does_not_hide_what_happened(self, tools: FakeTools) -> None:
        tools.gateway.answers["alive"] = SILENT
        tools.service.failures["log_lines"] = ServiceError("no log", why="no journal", fix="none")
        with pytest.raises(GatewayError, match="does not answer") as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert caught.value.fix == "see its log, then: keyturn apply"

    def test_an_answer_of_another_program_is_not_taken_for_the_gateways(
        self, tools: FakeTools
    ) -> None:
        tools.service.on_start = lambda: setattr(tools.ports, "taken", Listener(4711, "nc"))
        tools.gateway.answers["alive"] = Answer(200)
        with pytest.raises(GatewayError, match="port 4123 is not the gateway's") as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert caught.value.why == "nc (pid 4711) answers there, not litellm.service"

    def test_a_failing_start_is_told_as_it_is(self, tools: FakeTools) -> None:
        failure = ServiceError("masked", why="it is masked", fix="unmask it")
        tools.service.failures["start"] = failure
        with pytest.raises(ServiceError) as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert caught.value is failure


class TestRestart:
    @pytest.fixture(autouse=True)
    def running(self, tools: FakeTools) -> None:
        """Let the gateway run."""
        tools.service.start()
        tools.service.calls.clear()

    @pytest.mark.parametrize("way", ["swap", "restart", "start"])
    def test_whoever_waits_for_the_fresh_one_is_told_once_when_it_serves(
        self, tools: FakeTools, way: str
    ) -> None:
        told = []
        if way == "restart":
            tools.service.hindrance = "no memory"
        elif way == "start":
            tools.service.stop()
        starts = tools.service.starts
        bring_up(
            tools,
            SECRETS,
            starts=way == "start",
            reload=True,
            taken_over=lambda: told.append(tools.service.starts),
        )
        assert told == [starts + 1]
        assert way in tools.service.calls

    def test_short_memory_makes_it_restart_alone_and_is_said(self, tools: FakeTools) -> None:
        tools.service.hindrance = "only 5 MiB of memory are free"
        bring_up(tools, SECRETS, starts=False, reload=True)
        assert tools.service.calls == ["reset", "restart"]
        assert "only 5 MiB of memory are free" in tools.progress.notes[0]
        assert "requests wait meanwhile" in tools.progress.steps[0]

    def test_a_gateway_that_opens_its_port_itself_refuses_requests_and_is_said(
        self, tmp_path: Path, tools: FakeTools
    ) -> None:
        own = with_lab(tools, LAB + 'socket = "never"\n')
        own.service.held = own.service.address = None
        bring_up(own, SECRETS, starts=False, reload=False)
        assert tools.service.calls == ["restart"]
        assert "requests are refused meanwhile" in tools.progress.steps[0]

    @pytest.mark.parametrize("held", [None, "127.0.0.1:4100"])
    def test_another_address_is_opened_after_the_old_one_is_closed(
        self, tools: FakeTools, held: str | None
    ) -> None:
        tools.service.held = held
        bring_up(tools, SECRETS, starts=False, reload=True)
        # The manager re-reads its files last: else it would lose what it holds.
        assert tools.service.calls == ["stop", "reset", "start"]
        assert tools.service.listening() == "127.0.0.1:4123"

    def test_a_port_that_the_manager_of_a_stopped_gateway_holds_is_not_taken(
        self, tools: FakeTools
    ) -> None:
        tools.service.pid = None
        tools.ports.taken = Listener(1, "systemd")
        require_port_free(tools)

    def test_a_swap_that_fails_shows_the_log_of_the_fresh_process_without_keys(
        self, tools: FakeTools
    ) -> None:
        tools.service.log = ["the old one is fine"]
        tools.service.fresh_log = [f"refused {MASTER}"]
        failure = KeptError("it does not start", why="status 3", fix="see its log")
        tools.service.failures["swap"] = failure
        with pytest.raises(KeptError) as caught:
            bring_up(tools, SECRETS, starts=False, reload=False)
        assert caught.value.why == "status 3"
        assert "refused" in caught.value.fix
        assert MASTER not in caught.value.fix
        assert "the old one" not in caught.value.fix

    def test_a_start_that_fails_shows_its_log(self, tools: FakeTools) -> None:
        tools.service.log = ["the reason"]
        tools.service.failures["start"] = NotReadyError("no", why="status 3", fix="see its log")
        with pytest.raises(NotReadyError) as caught:
            bring_up(tools, SECRETS, starts=True, reload=False)
        assert "the reason" in caught.value.fix


class TestOwnListener:
    def test_the_service_may_listen(self, tools: FakeTools) -> None:
        tools.service.pid = 71
        require_own_listener(tools, 71)

    def test_nobody_else_may(self, tools: FakeTools) -> None:
        tools.ports.taken = Listener(None, "")
        with pytest.raises(GatewayError, match="another user's program answers there"):
            require_own_listener(tools, 71)
        tools.ports.closed = True
        with pytest.raises(GatewayError, match="runs, but does not serve"):
            require_own_listener(tools, 71)


class TestProve:
    @pytest.fixture(autouse=True)
    def running(self, tools: FakeTools) -> None:
        """Let the gateway run."""
        tools.service.start()

    def test_a_closed_gateway_that_takes_the_key_is_proven(self, tools: FakeTools) -> None:
        assert prove(tools, KEY) == ("lab-echo",)
        assert tools.gateway.asked == ["no key", "wrong key", "right key"]

    @pytest.mark.parametrize(
        "answer", [Answer(401), Answer(403), Answer(500), Answer(400, "no_db_connection")]
    )
    def test_every_refusal_of_a_missing_key_counts(self, tools: FakeTools, answer: Answer) -> None:
        tools.gateway.answers["no key"] = answer
        assert prove(tools, KEY)

    @pytest.mark.parametrize("kind", ["systemd", "supervisor"])
    @pytest.mark.parametrize("words", ["no key", "wrong key"])
    def test_an_open_gateway_is_the_loudest_error(
        self, tools: FakeTools, words: str, kind: str
    ) -> None:
        tools.service.kind = kind
        tools.gateway.answers[words] = Answer(200, model_ids=("lab-echo",))
        with pytest.raises(OpenGatewayError, match="THE GATEWAY IS OPEN") as caught:
            prove(tools, KEY)
        assert caught.value.fix == "stop it now (keyturn service stop), then: keyturn apply"
        assert "right key" not in tools.gateway.asked

    def test_a_manager_that_cannot_be_asked_does_not_hide_an_open_gateway(
        self, tools: FakeTools
    ) -> None:
        tools.service.kind = "supervisor"
        tools.gateway.answers["no key"] = Answer(200)
        tools.service.failures["status"] = ServiceError("no answer", why="gone", fix="none")
        with pytest.raises(OpenGatewayError, match="THE GATEWAY IS OPEN") as caught:
            prove(tools, KEY)
        assert "keyturn service stop" in caught.value.fix

    @pytest.mark.parametrize(
        ("words", "answer"),
        [
            ("no key", Answer(502)),
            ("no key", Answer(200, is_gateway=False)),
            ("wrong key", Answer(500)),
            ("wrong key", Answer(400, "invalid_request_error")),
            ("wrong key", SILENT),
        ],
    )
    def test_an_answer_that_proves_nothing_is_an_error(
        self, tools: FakeTools, words: str, answer: Answer
    ) -> None:
        tools.gateway.answers[words] = answer
        with pytest.raises(GatewayError, match="proves nothing"):
            prove(tools, KEY)

    @pytest.mark.parametrize("answer", [Answer(400, "no_db_connection"), Answer(500), SILENT])
    def test_a_key_that_is_not_accepted_is_an_error(self, tools: FakeTools, answer: Answer) -> None:
        tools.gateway.answers["right key"] = answer
        with pytest.raises(GatewayError, match="does not accept the lab's key"):
            prove(tools, KEY)

    def test_the_wrong_key_is_a_new_one_each_time(self, tools: FakeTools) -> None:
        prove(tools, KEY)
        prove(tools, KEY)
        assert len(set(tools.new_key.made)) == 2
