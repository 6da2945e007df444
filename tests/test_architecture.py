"""The rules of docs/architecture.md that a machine can check."""

import ast
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.models import Caller
from server.services import Services

REPOSITORY = Path(__file__).parents[1]
SERVER = REPOSITORY / "server"
FILES = sorted(SERVER.rglob("*.py"))
FILE_LINES_MAX = 320
FUNCTION_LINES_MAX = 60

# Who besides config/settings.py touches the environment, and why it may.
ENVIRONMENT = {"server/heap.py": "PYTHONMALLOC must be chosen before anything else is read"}

# What doors or the wiring call without a caller, and why nobody has to be asked.
WITHOUT_CALLER = {
    "Assistants.add_automatic": "the server itself, at its start",
    "Runs.start_with": "the wiring introduces the worker",
    "Runs.stop": "the server itself, when the client of a stream it had allowed vanished",
}

# Functions that may be long, and why.
LONG = {"server/storage/migrations/versions/0001_foundation.py upgrade": "a list of columns, never to change"}


def name(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    found = [REPOSITORY / path for path in listed.stdout.decode().split("\0") if path]
    return [path for path in found if path.is_file()]


def test_imports_keep_to_the_layers() -> None:
    """The contracts of import-linter in pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_module_is_in_a_layer_or_below_all_of_them() -> None:
    """A new top-level module that no layer names could be imported from anywhere and import anything."""
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    unnamed = {"__init__"}
    modules = {path.stem if path.is_file() else path.name for path in SERVER.iterdir()} - {"__pycache__"}
    missing = {
        module
        for module in modules - unnamed
        if (SERVER / f"{module}.py").exists() or (SERVER / module / "__init__.py").exists()
        if f"server.{module}" not in pyproject
    }
    assert missing == set()


def test_only_the_configuration_reads_the_environment() -> None:
    readers = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            attribute = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
            imported = isinstance(node, ast.ImportFrom) and node.module == "os"
            named = imported and {alias.name for alias in node.names} & {"environ", "environb", "getenv"}
            if attribute or named:
                readers.add(name(file))
    assert readers - set(ENVIRONMENT) == {"server/config/settings.py"}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_is_short_enough_to_read_in_one_go(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_function_fits_on_a_screen(file: Path) -> None:
    long = {
        f"{name(file)} {function.name}"
        for function in functions(file)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long - set(LONG) == set()


@pytest.mark.parametrize("file", FILES, ids=name)
def test_the_first_line_of_a_file_says_its_idea(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring or not file.read_text().strip()


def public_methods() -> dict[str, inspect.Signature]:
    """What doors may call: the methods of everything in `Services`."""
    found = {}
    for service in typing.get_type_hints(Services).values():
        for method, function in inspect.getmembers(service, inspect.isfunction):
            if not method.startswith("_"):
                found[f"{service.__name__}.{method}"] = inspect.signature(function)
    return found


@pytest.mark.parametrize("method", sorted(set(public_methods()) - set(WITHOUT_CALLER)))
def test_every_service_asks_first_who_calls(method: str) -> None:
    parameters = list(public_methods()[method].parameters.values())
    assert [parameters[1].name, parameters[1].annotation] == ["caller", Caller]


def test_the_exceptions_are_still_there() -> None:
    assert set(WITHOUT_CALLER) <= set(public_methods())
    assert {entry.split()[0] for entry in LONG} | set(ENVIRONMENT) <= {name(file) for file in FILES}


def test_no_file_names_somebodys_home() -> None:
    home = re.compile(rb"/(?:home|Users)/[A-Za-z][\w.-]*/|/root/\w|[A-Z]:\\Users\\\w")
    ours = Path(__file__)
    assert [name(file) for file in tracked() if file != ours and home.search(file.read_bytes())] == []


def test_no_file_names_the_registry_it_was_installed_from() -> None:
    """Locks that name a host install from nowhere else."""
    host = re.compile(rb'"resolved"|index-url\s*=?\s*http|files\.pythonhosted\.org|registry\.npmjs\.org')
    ours = Path(__file__)
    assert [name(file) for file in tracked() if file != ours and host.search(file.read_bytes())] == []


def test_our_own_imports_are_relative() -> None:
    """The package is loaded under another name: an absolute import of it would find somebody else's."""
    absolute = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(found.split(".")[0] == "server" for found in names):
                absolute.add(name(file))
    assert absolute == set()


def test_test_files_have_names_of_their_own() -> None:
    """Folders of tests are no packages, so pytest knows a file by its name alone."""
    names = [
        path.name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert sorted(names) == sorted(set(names))


# Lookups that take a scope, and who looks without one: nobody stands behind them, or he has been asked.
SCOPED = {("threads", name) for name in ("get", "exists", "metadata_of", "changed_at", "waiting_of")} | {
    ("runs", "get"),
    ("runs", "select_active"),
}
SCOPED |= {
    (table, name) for table in ("assistants", "crons") for name in ("get", "get_to_change", "search", "count")
}
SCOPED |= {("crons", "remove"), ("assistants", "threads_of")}
UNSCOPED = {
    "admission.py": "the caller has leave for the run that displaces others",
    "attempts.py": "the worker",
    "closing.py": "whoever closes logs that nobody ends",
    "erasure.py": "what was begun within a scope, and what is swept away",
    "expiry.py": "the sweeper",
    "imports.py": "the operator, who takes threads over from elsewhere",
    "ticks.py": "the scheduler, which asks in the name of who made the cron",
}
# Within others, each a look that shows nothing to anybody.
LOOKS = {
    "answers.py waiting_of": 1,  # the admission of the run asks
    "assistants.py get": 1,  # whether an id is taken: 409 for everybody
    "leave.py exists": 1,  # whether a thread is there, but not for this caller
    "readers.py exists": 1,  # the same
    "removal.py get": 0,
    "runs.py get": 2,  # names that the caller gave himself; whether an id is taken
    "state_update.py exists": 2,  # whether an id is taken
    "state_update.py get": 1,  # the thread that was just made
    "stopping.py get": 2,  # whether a run is there, which is not told; what was allowed to be stopped
    "thread_copy.py changed_at": 1,  # of the source, which was found within a scope
    "thread_copy.py exists": 2,  # of the copy
    "thread_copy.py get": 1,  # the copy
    "thread_copy.py metadata_of": 1,
    "threads.py exists": 1,  # whether an id is taken
    "threads.py get": 1,  # the thread that was just changed
}


def unscoped_lookups(file: Path) -> Iterator[str]:
    """Names of lookups in a service that are called without a scope."""
    text = file.read_text()
    tables = dict(re.findall(r"from \.\.storage import (\w+) as (\w+)", text))
    known = {alias: table for table, alias in tables.items()}
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if (known.get(owner, owner), node.func.attr) not in SCOPED:
            continue
        said = " ".join(ast.unparse(argument) for argument in (*node.args, *node.keywords))
        if not re.search(r"scope|leave\.threads|creating|writing|mine|\bof_threads|self\.threads", said):
            yield node.func.attr


def test_services_look_for_nothing_beyond_what_the_caller_may_touch() -> None:
    found: dict[str, int] = {}
    for file in (SERVER / "services").glob("*.py"):
        if file.name not in UNSCOPED:
            for lookup in unscoped_lookups(file):
                key = f"{file.name} {lookup}"
                found[key] = found.get(key, 0) + 1
    assert found == {key: count for key, count in LOOKS.items() if count}
