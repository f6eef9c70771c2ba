"""Templates become bytes, and no secret gets into them, or into an error, without an encoding."""

import json
import shlex
import tomllib

import pytest
import yaml

from bootstrap.domain.errors import ConfigError, LabError, TargetError, UnencodedSecretError
from bootstrap.domain.secret import MASK, Secret
from bootstrap.domain.template import render

KEY = Secret("sk-test-key-1")
AWKWARD = 'it\'s "a" $HOME %h {{ x }} \\ é: #'


def rendered(source: str, **values: object) -> str:
    """Return the text that `source` renders to."""
    return render(source, values, name="x.j2").data.decode()


def refusal(source: str, **values: object) -> LabError:
    """Return the error that `source` ends in, which quotes no value."""
    with pytest.raises(LabError) as caught:
        render(source, {"key": KEY, **values}, name="x.j2")
    error = caught.value
    assert "sk-test" not in f"{error.what} {error.why} {error.fix}"
    assert error.__cause__ is None
    return error


class TestFilters:
    def test_json_writes_secrets_at_any_depth(self) -> None:
        text = rendered("{{ it | json }}", it={"a": [KEY, 1, None], "b": ({"c": KEY},)})
        assert json.loads(text) == {"a": ["sk-test-key-1", 1, None], "b": [{"c": "sk-test-key-1"}]}
        assert rendered("{{ it | json(2) }}", it={"a": 1}) == '{\n  "a": 1\n}'

    def test_json_writes_awkward_text_exactly(self) -> None:
        assert json.loads(rendered("{{ it | json }}", it=Secret(AWKWARD))) == AWKWARD

    def test_yaml_writes_references_or_the_keys_themselves(self) -> None:
        it = {"a": "os.environ/KEY", "b": [AWKWARD]}
        assert yaml.safe_load(rendered("{{ it | yaml(2, literal) }}", it=it, literal=None)) == it
        text = rendered("x:\n{{ it | yaml(2, literal) }}", it=it, literal={"KEY": KEY})
        assert yaml.safe_load(text) == {"x": {"a": "sk-test-key-1", "b": [AWKWARD]}}

    def test_a_shell_reads_back_what_sh_wrote(self) -> None:
        assert shlex.split(rendered("{{ it | sh }}", it=Secret(AWKWARD))) == [AWKWARD]

    def test_an_env_file_takes_the_key(self) -> None:
        assert rendered("K={{ it | dotenv }}\n", it=KEY) == "K=sk-test-key-1\n"
        assert rendered("K={{ it | dotenv }}\n", it=Secret("a b")) == "K='a b'\n"

    def test_a_value_that_no_env_file_can_hold_is_refused_unquoted(self) -> None:
        error = refusal("K={{ it | dotenv }}", it=Secret("sk-test-two\nlines"))
        assert isinstance(error, TargetError)

    def test_units_and_ids_have_their_spellings(self) -> None:
        assert rendered("{{ it | systemd_arg }}", it="50% of $x") == '"50%% of $x"'
        assert rendered("{{ it | systemd_text }}", it="50%") == "50%%"
        assert rendered("{{ it | systemd_env_file }}", it="/a*b") == "/a\\*b"
        assert rendered("{{ it | droid_id }}", it="m") == "custom:keyturn-m"


class TestRefusals:
    @pytest.mark.parametrize(
        "source",
        [
            "{{ key }}", "{{ key ~ 'x' }}", "{{ key | string }}", "{{ key | upper }}x{{ key }}",
            "{{ [key] }}", "{{ '%s' | format(key) }}", "{{ key | string | json }}",
            "{{ {'a': key} | string }}",
        ],
    )  # fmt: skip
    def test_a_bare_secret_is_refused(self, source: str) -> None:
        error = refusal(source)
        assert isinstance(error, UnencodedSecretError)
        assert "| json" in error.fix

    @pytest.mark.parametrize(
        "source",
        [
            "{{ key.reveal() }}",
            "{{ key._text }}",
            "{{ key | attr('reveal') }}",
            "{{ key['reveal']() }}",
            "{{ [key] | map(attribute='reveal') | first }}",
            "{{ key.fingerprint.__globals__ }}",
        ],
    )
    def test_a_template_cannot_reach_into_a_secret(self, source: str) -> None:
        assert isinstance(refusal(source), ConfigError | UnencodedSecretError)

    def test_a_template_cannot_reach_into_python(self) -> None:
        error = refusal("{{ ''.__class__.__mro__[1].__subclasses__() }}")
        assert error.why == "it raises SecurityError"

    def test_an_undefined_value_is_named(self) -> None:
        error = refusal("{{ master_kye | json }}")
        assert isinstance(error, ConfigError)
        assert (error.what, error.why) == (
            "template x.j2 cannot be rendered", "'master_kye' is undefined"
        )  # fmt: skip
        assert error.fix == "edit templates/x.j2"

    def test_a_missing_part_of_a_value_does_not_quote_the_value(self) -> None:
        refusal("{{ it.missing }}", it={"api_key": "sk-test-plain"})
        refusal("{{ it['missing'] | json }}", it="sk-test-plain")

    @pytest.mark.parametrize(
        "source", ["a\n{% if %}", "a\n{{ key | nofilter }}", "a\n{{ 'sk-test }}"]
    )
    def test_a_syntax_error_is_named_by_its_line(self, source: str) -> None:
        error = refusal(source)
        assert isinstance(error, ConfigError)
        assert (error.what, error.why) == ("template x.j2 is not valid Jinja", "line 2")

    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            ("{{ key + 'sk-test-2' }}", "TypeError"),
            ("{{ 1 / 0 }}", "ZeroDivisionError"),
            ("{{ {'a': it} | json }}", "TypeError"),
            ("{{ it | yaml }}", "RepresenterError"),
            ("{{ 5 | dotenv }}", "TypeError"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ],
    )
    def test_a_filter_that_breaks_is_named_by_its_kind(self, source: str, kind: str) -> None:
        error = refusal(source, it=object())
        assert isinstance(error, ConfigError)
        assert error.why == f"it raises {kind}"

    @pytest.mark.parametrize("source", ["{% include 'x.j2' %}", "{% extends '/etc/passwd' %}"])
    def test_a_template_stands_alone(self, source: str) -> None:
        assert "each has to stand alone" in refusal(source).why

    def test_a_secret_that_the_lab_lacks_is_said_to_be_one(self) -> None:
        error = refusal("{{ secrets.NOPE | json }}", secrets={"KEY": KEY})
        assert (
            error.why == "there is no secret NOPE: lab.toml has none, or it is optional and unset"
        )
        assert "it goes through a filter" in refusal("{{ key.value }}").why


def test_plain_text_passes_unchanged_to_the_last_newline() -> None:
    assert rendered("a <b> & 'c'\n\n") == "a <b> & 'c'\n\n"
    assert rendered("{% if true %}\n  a\n{% endif %}\n") == "  a\n"


def test_a_text_that_looks_like_the_mask_is_refused_too() -> None:
    with pytest.raises(UnencodedSecretError):
        rendered("{{ it | json }}", it=MASK)


def test_the_result_does_not_print_itself() -> None:
    assert "sk-test" not in repr(render("{{ key | json }}", {"key": KEY}, name="x"))
    assert tomllib.loads(rendered("a = {{ key | json }}", key=KEY)) == {"a": "sk-test-key-1"}
