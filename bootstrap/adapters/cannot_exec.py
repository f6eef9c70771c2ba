"""Why a program cannot be run, for people and as env(1) says it by its exit status."""

import posix

from bootstrap.domain.errors import ExitCode, LabError

_E2BIG = 7  # of every POSIX system
_FILE_TYPE, _FOLDER = 0o170000, 0o040000


class CannotExecError(LabError):
    """The program cannot be run; the exit code says in which way, as that of env(1) does."""

    def __init__(self, program: str, code: int, *, why: str, fix: str) -> None:
        self.exit_code = code
        shown = program or '""'
        super().__init__(f"{shown} cannot be run", why=why, fix=fix)


def explain(program: str, refused: Exception | None) -> CannotExecError:
    """Return the error for a program that could not be executed.

    Args:
        program: As it was asked for.
        refused: What happened; None where it is nowhere to be found.
    """
    if refused is None:
        why = "it, or the interpreter that it names, is not there or not on PATH"
        fix = "check its name, and PATH"
        return CannotExecError(program, ExitCode.EXEC_NOT_FOUND, why=why, fix=fix)
    if isinstance(refused, ValueError):  # its text may quote the value
        why = "an argument or a secret holds a NUL or is not Unicode"
        fix = "see which one: keyturn list"
        return CannotExecError(program, ExitCode.EXEC_FAILED, why=why, fix=fix)
    code = ExitCode.EXEC_NOT_EXECUTABLE
    if _is_folder(program):
        return CannotExecError(program, code, why="it is a folder", fix="name a program in it")
    if isinstance(refused, PermissionError):
        fix = f"chmod +x {program}"
        return CannotExecError(program, code, why="it is not executable", fix=fix)
    if isinstance(refused, OSError) and refused.errno == _E2BIG:
        why = "its arguments and variables are longer than the system passes to a program"
        fix = "pass fewer words; or fewer variables: keyturn exec --clean --keep NAME"
        return CannotExecError(program, code, why=why, fix=fix)
    why = posix.strerror(getattr(refused, "errno", 0) or 0).lower()
    return CannotExecError(program, code, why=why, fix=f"look at it: file {program}")


def _is_folder(program: str) -> bool:
    if "/" not in program and program.strip("."):  # it was looked for on PATH
        return False
    try:
        return posix.stat(program).st_mode & _FILE_TYPE == _FOLDER
    except (OSError, ValueError):
        return False
