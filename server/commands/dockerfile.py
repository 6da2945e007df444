"""A project → the Dockerfile of an image that serves it.

Two stages on one base: what installs is not in the image that runs. That one needs no shell, no root, and one
writable place, `/data` (reliability L5). Secrets come from the container's environment, never out of a layer.
"""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..config.image import ImageRules, image_rules
from ..config.project import Project
from ..config.refusals import refuse
from ..errors import ConfigError

PORT = 8123
USER = 10001
# What tools and servers keep in the folder of a project, and what may be secret.
IGNORED = (".git", ".venv", "venv", ".env*", ".graphwire", ".langgraph_api", "node_modules", "**/__pycache__")
HEALTH = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/ok', timeout=2)"


@dataclass(frozen=True, slots=True)
class Image:
    """What `docker build` needs, in the folder of the project as its context."""

    dockerfile: str
    ignored: str


def image_of(project: Project, *, package: str | None = None, base_image: str | None = None) -> Image:
    """The image of a project. `package` is what pip shall take for Graphwire: a requirement, or a wheel in
    the folder; the version that runs here otherwise. Raises ConfigError.
    """
    refuse(project, allow_outside=False)  # nothing outside of the folder is in the context
    rules = image_rules(project.path, project.raw)
    lines = [
        *_base(rules, base_image or rules.base),
        *_build(project, rules, package or f"graphwire=={__version__}"),
        *_final(project),
    ]
    return Image("\n".join(lines) + "\n", "\n".join(_ignored(project)) + "\n")


def _ignored(project: Project) -> Iterator[str]:
    yield from IGNORED
    yield "!.env.example"
    if isinstance(env := project.raw.get("env"), str):
        yield os.path.normpath(env)


def _base(rules: ImageRules, base: str) -> Iterator[str]:
    yield from (
        "# syntax=docker/dockerfile:1",
        f"# Written by Graphwire {__version__}. Build it in the folder of the project.",
        f"FROM {base} AS base",
        "ENV PATH=/opt/graphwire/bin:$PATH \\",
        "    PIP_PYTHON=/opt/graphwire/bin/python",
        "RUN python -m venv --without-pip /opt/graphwire",
        *rules.lines,
        "",
    )


def _build(project: Project, rules: ImageRules, package: str) -> Iterator[str]:
    yield "FROM base AS build"
    yield "ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore"
    if rules.pip_config_file:
        yield f"COPY {_inside(project, 'pip_config_file', rules.pip_config_file)} /etc/pip.conf"
    if package.endswith(".whl"):
        yield f"COPY {_inside(project, '--package', package)} /tmp/"
        package = f"/tmp/{Path(package).name}"
    yield f"RUN pip install {shlex.quote(package)}"
    yield "WORKDIR /app"
    yield "COPY . ."
    if wanted := [*_wanted(project), *rules.kept_tools]:
        # A package of the project that breaks one of ours fails the build here, not the server later.
        yield f"RUN pip install {shlex.join(wanted)} && pip check"
    # On a read-only file system nobody can do it later.
    yield "RUN python -m compileall -q ."
    yield ""


def _final(project: Project) -> Iterator[str]:
    config = os.path.relpath(project.path, project.root)
    command = ["graphwire", "serve", "--host", "0.0.0.0", "--config", f"/app/{config}"]
    yield from (
        "FROM base",
        f"RUN install --directory --owner={USER} --group={USER} --mode=0700 /data",
        "COPY --from=build /opt/graphwire /opt/graphwire",
        "COPY --from=build /app /app",
        "ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data TMPDIR=/data \\",
        "    GRAPHWIRE_DATA_DIR=/data/graphwire",
        "WORKDIR /app",
        f"USER {USER}:{USER}",
        "VOLUME /data",
        f"EXPOSE {PORT}",
        "HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \\",
        f"    CMD {_exec('python', '-c', HEALTH)}",
        f"CMD {_exec(*command)}",
    )


def _exec(*words: str) -> str:
    """The form without a shell, so that signals reach the process."""
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _wanted(project: Project) -> Iterator[str]:
    """What pip installs for the project: packages, lists of packages, and folders that are packages."""
    folders = []
    for entry in project.dependencies:
        if (project.root / entry).is_dir():
            folders.append(Path(os.path.normpath(entry)))
        elif entry.startswith((".", "/")):
            continue  # as in `dev`: a folder that is not there
        else:
            yield entry
    for folder in dict.fromkeys([*folders, Path(".")]):
        if (project.root / folder / "requirements.txt").is_file():
            yield from ("-r", f"./{folder / 'requirements.txt'}")
    for folder in dict.fromkeys(folders):
        if any((project.root / folder / name).is_file() for name in ("pyproject.toml", "setup.py")):
            yield from ("-e", f"./{folder}")


def _inside(project: Project, key: str, path: str) -> str:
    """A file that the context has."""
    if not (project.root / path).is_file():
        raise ConfigError(f"{project.path}: {key} names {path}, which is no file in {project.root}.")
    if not (project.root / path).resolve().is_relative_to(project.root.resolve()):
        raise ConfigError(f"{project.path}: {key} names {path}, which lies outside of {project.root}.")
    return os.path.relpath(project.root / path, project.root)
