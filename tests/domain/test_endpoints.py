"""Where a URL leads, and how it is shown."""

import pytest

from bootstrap.domain.endpoints import LOOPBACK, endpoint, is_below, safe_url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4000/v1",
        "http://localhost:4000",
        "HTTP://[::1]:4000/",
        "http://0.0.0.0:4000",
        "http://127.9.9.9:4000/x?y",
        "http://lab.localhost.:4000",
    ],
)
def test_all_names_of_this_machine_are_one_host(url: str) -> None:
    assert endpoint(url) == (LOOPBACK, 4000)


def test_the_usual_ports_need_not_be_said() -> None:
    assert endpoint("https://api.example.com/v1") == ("api.example.com", 443)
    assert endpoint("http://api.example.com") == ("api.example.com", 80)


@pytest.mark.parametrize("url", [None, 5, "", "localhost:4000", "ftp://a", "http://", "http://a:b"])
def test_what_is_no_http_url_leads_nowhere(url: object) -> None:
    assert endpoint(url) is None


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    shown = safe_url("https://me:sk-test-x@lab.example.com:8443/v1/\x1bx?key=sk-test-y#z")
    assert shown == "https://lab.example.com:8443/v1/\ufffdx"
    assert safe_url("sk-test-pasted-here") == "(no URL)"
    assert safe_url("http://a:b") == "(no URL)"
    assert len(safe_url("http://a" + "/b" * 99)) == 100


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/"),
        ("http://127.0.0.1:9/v1/", "http://127.0.0.1:9/v1"),
        ("https://A.example.com/v1", "https://a.example.com:443"),
    ],
)
def test_a_policy_allows_what_is_below_its_address(url: str, prefix: str) -> None:
    assert is_below(url, prefix)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9@thief.invalid/v1",
        "http://127.0.0.1:99/v1",
        "http://127.0.0.1:9/v12",
        "https://127.0.0.1:9/v1",
        "http://localhost:9/v1",
        "http://a:b",
        "",
    ],
)
def test_a_policy_does_not_allow_what_only_looks_so(url: str) -> None:
    assert not is_below(url, "http://127.0.0.1:9/v1")
