"""Commands about the image of a project: dockerfile, build."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from ..config.project import Project, load_project
from ..errors import ConfigError
from .dockerfile import Image, image_of
from .flags import CONFIG, ended_by_errors, with_flags

ENGINES = ("docker", "podman")
IMAGE = with_flags(
    CONFIG,
    click.option("--base-image", help="What the image is built on, over `base_image` of the project file."),
    click.option(
        "--package", help="What pip takes for Graphwire: a requirement, or a wheel in the project's folder."
    ),
)


@click.command(context_settings={"show_default": True})
@click.argument("save_path", type=click.Path(path_type=Path, allow_dash=True), default="-")
@IMAGE
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def dockerfile(
    save_path: Path, config: Path, base_image: str | None, package: str | None, force: bool
) -> None:
    """Write the Dockerfile of a project's image.

    To SAVE_PATH, or to the terminal. Beside it goes SAVE_PATH.dockerignore, which keeps secrets and waste out
    of the image.
    """
    ended_by_errors(_dockerfile, save_path, config, base_image, package, force)


def _dockerfile(path: Path, config: Path, base_image: str | None, package: str | None, force: bool) -> None:
    image = image_of(load_project(config), package=package, base_image=base_image)
    if path == Path("-"):
        click.echo(image.dockerfile, nl=False)
        return
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already: name another file, or write over it with --force.")
    _write(image, path)
    click.echo(f"Wrote {path} and {_ignore_file(path)}. Build it: docker build -f {path} {config.parent}")


@click.command(context_settings={"show_default": True, "ignore_unknown_options": True})
@IMAGE
@click.option("--tag", "-t", required=True, help="Name of the image.")
@click.option("--pull/--no-pull", default=True, help="Whether to look for a newer base.")
@click.option("--engine", type=click.Choice(ENGINES), help="What builds; the first of them that is there.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def build(
    config: Path,
    base_image: str | None,
    package: str | None,
    tag: str,
    pull: bool,
    engine: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Build the image of a project with Docker or Podman.

    They get all other ARGUMENTS.

    \b
    graphwire build -t my-agent
    docker run --rm --read-only -p 8123:8123 -v my-agent:/data my-agent
    """

    def run() -> int:
        project = load_project(config)
        image = image_of(project, package=package, base_image=base_image)
        return _build(engine or _engine(), project, image, ["-t", tag, *["--pull"] * pull, *arguments])

    ended_by_errors(lambda: sys.exit(run()))


def _engine() -> str:
    for name in ENGINES:
        if shutil.which(name):
            return name
    raise ConfigError(
        "neither docker nor podman is on the PATH: install one, or write the file with "
        "`graphwire dockerfile` and build it elsewhere."
    )


def _build(engine: str, project: Project, image: Image, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "Dockerfile"
        _write(image, file)
        ignoring = ["--ignorefile", str(_ignore_file(file))] if engine == "podman" else []
        command = [engine, "build", "-f", str(file), *ignoring, *arguments, str(project.root)]
        try:
            return subprocess.run(command, check=False).returncode
        except FileNotFoundError:
            raise ConfigError(f"{engine} is not on the PATH: install it, or name another --engine.") from None


def _write(image: Image, path: Path) -> None:
    try:
        path.write_text(image.dockerfile)
        _ignore_file(path).write_text(image.ignored)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _ignore_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.dockerignore")
