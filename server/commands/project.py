"""Commands about a project that start no server: new, check."""

import json
import sys
from pathlib import Path

import click

from ..config.project import dotenv_file
from ..config.schema import project_schema
from .checking import Problem, problems_of
from .flags import ALLOW_OUTSIDE, CONFIG, ENV_FILE, ended_by_errors
from .scaffold import create


@click.command(context_settings={"show_default": True})
@click.argument("path", type=click.Path(path_type=Path), default=".")
def new(path: Path) -> None:
    """Write a project into the folder PATH that streams at once.

    \b
    graphwire new my-agent
    cd my-agent && graphwire dev
    """
    ended_by_errors(_new, path)


def _new(folder: Path) -> None:
    names = create(folder)
    click.echo(f"Wrote {', '.join(names)}.\nNow:")
    if folder != Path("."):
        click.echo(f"  cd {folder}")
    click.echo("  graphwire dev")


@click.command(context_settings={"show_default": True})
@CONFIG
@ENV_FILE
@ALLOW_OUTSIDE
@click.option("--schema", is_flag=True, help="Print the JSON schema of langgraph.json instead, for editors.")
def check(config: Path, env_file: Path | None, allow_outside: bool, schema: bool) -> None:
    """Tell everything that is wrong with a project; start nothing.

    Reads the project file, the environment and the settings as `serve` would, and imports what it names. The
    exit status is 1 when something would keep it from starting.
    """
    if schema:
        click.echo(json.dumps(project_schema(), indent=2, ensure_ascii=False))
        return
    ended_by_errors(_check, config, env_file, allow_outside)


def _check(config: Path, env_file: Path | None, allow_outside: bool) -> None:
    env = dotenv_file(env_file) if env_file else {}
    problems = problems_of(config, env, allow_outside=allow_outside)
    for problem in sorted(problems, key=lambda problem: problem.warning):
        click.echo(str(problem))
    click.echo(_summary(config, problems))
    if not all(problem.warning for problem in problems):
        sys.exit(1)


def _summary(config: Path, problems: list[Problem]) -> str:
    errors = sum(not problem.warning for problem in problems)
    warnings = len(problems) - errors
    found = [
        f"{count} {word}{'s' * (count > 1)}"
        for count, word in ((errors, "problem"), (warnings, "warning"))
        if count
    ]
    return f"{config}: {' and '.join(found) or 'nothing is wrong'}."
