#!/usr/bin/env bash
# Write the list of doctor's codes into docs/doctor.md, from the texts that `keyturn explain` prints.
# shellcheck source=lib/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/lib/venv.sh"
cd -- "$root"
venv_ready dev
"$venv/bin/python" - <<'PYTHON'
from pathlib import Path

from bootstrap.domain.doctor.groups import in_document

page = Path("docs/doctor.md")
page.write_text(in_document(page.read_text()))
PYTHON
