"""`keyturn doctor` and `keyturn explain`, whatever state the machine is in."""

import json
from pathlib import Path

import pytest

from bootstrap.domain.doctor.groups import codes, in_document
from support.doctor import KEY, Patient, patient
from support.homes import REPOSITORY


@pytest.fixture
def well(home: Path) -> Patient:
    return patient(home)


def test_a_missing_lab_is_an_error_and_stops_nothing_else(well: Patient) -> None:
    (well.lab / "lab.toml").unlink()
    done = well.run("doctor", "--json", "KT0")
    finding = done.json["findings"][0]
    assert (done.code, finding["code"], finding["severity"]) == (1, "KT001", "error")
    assert finding["mend"]
    assert {row["code"] for row in well.all_findings()} == set(codes())


def test_a_broken_lab_file_is_an_error_that_names_the_place(well: Patient) -> None:
    (well.lab / "lab.toml").write_text('version = 1\n[gateway]\nprt = 4000\napi = "sk-test-odd"\n')
    (finding,) = well.findings("KT0")["KT001"]
    assert "gateway.prt" in finding["seen"]
    assert "sk-test-odd" not in "".join(well.said)


def test_a_key_that_no_source_holds_is_an_error(well: Patient) -> None:
    (well.lab / "key").unlink()
    (finding,) = well.findings("KT0")["KT002"]
    assert finding["severity"] == "error"
    assert well.run("doctor", "KT002").code == 1


def test_a_well_lab_gets_a_count_of_what_is_well(well: Patient) -> None:
    done = well.run("doctor", "KT0")
    assert (done.code, done.out.splitlines()) == (0, ["The lab", "  3 ok"])
    assert "KT001" in well.run("doctor", "KT0", "-v").out
    assert well.run("doctor", "KT0", "-q").out == ""


def test_nothing_to_mend_and_nothing_to_undo_are_said(well: Patient) -> None:
    assert "Nothing that --fix could mend" in well.run("doctor", "--fix", "KT0").out
    undone = well.run("doctor", "--undo")
    assert (undone.code, undone.error["error"]) == (2, "there is nothing to undo")


@pytest.mark.parametrize(
    "words", [["KT999"], ["droid"], ["--undo", "--fix"], ["--dry-run"], ["--undo", "KT1"]]
)
def test_words_that_do_not_fit_are_a_usage_error(well: Patient, words: list[str]) -> None:
    assert well.run("doctor", *words).code == 2


def test_every_code_is_explained_at_length(well: Patient) -> None:
    listed = well.run("explain").out
    for code in codes().values():
        assert f"{code.id}  {code.title}" in listed
        assert min(len(code.more), 3 * len(code.why)) > 60, code.id
        assert code.mend, code.id
    shown = well.run("explain", "kt001").out
    assert shown.startswith("KT001: ")
    assert "Mend it: " in shown
    assert json.loads(well.run("explain", "KT001", "--json").out)["code"] == "KT001"


def test_a_code_that_is_explained_must_be_one(well: Patient) -> None:
    assert well.run("explain", "KT0").code == 2
    assert well.run("explain", "KT998").code == 2


def test_the_list_in_the_documents_is_the_one_that_explain_prints() -> None:
    page = (REPOSITORY / "docs" / "doctor.md").read_text()
    assert page == in_document(page), "run scripts/doctor-docs.sh"


def test_no_key_is_printed(well: Patient) -> None:
    well.run("doctor", "-v")
    well.run("doctor", "--json")
    assert KEY not in "".join(well.said)
