"""The Dockerfile of a project, and what builds it. What it makes runs in acceptance/test_container.py."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fix_cli import graphwire, project

__all__ = ["project"]


def write(config: Path, **more: Any) -> None:
    config.write_text(json.dumps({"graphs": {"small": "./small.py:graph"}, **more}))


def printed(config: Path, *flags: str) -> list[str]:
    done = graphwire("dockerfile", "--config", config, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def packages(project: Path) -> Path:
    """A project with folders of several kinds."""
    for name in (
        "lib/pyproject.toml",
        "lib/requirements.txt",
        "tool/setup.py",
        "plain/x.py",
        "requirements.txt",
    ):
        (project.parent / name).parent.mkdir(exist_ok=True)
        (project.parent / name).touch()
    write(project, dependencies=["./lib", "tool", "./plain/", "./gone", "rich>=13; python_version > '3'"])
    return project


def test_packages_lists_and_folders_are_installed_and_what_breaks_ours_fails(packages: Path) -> None:
    assert (
        "RUN pip install 'rich>=13; python_version > '\"'\"'3'\"'\"'' -r ./lib/requirements.txt "
        "-r ./requirements.txt -e ./lib -e ./tool && pip check"
    ) in printed(packages)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({}, "FROM python:3.12-slim AS base"),
        ({"python_version": "3.13"}, "FROM python:3.13-slim AS base"),
        ({"image_distro": "bookworm"}, "FROM python:3.12-slim-bookworm AS base"),
        ({"image_distro": "debian"}, "FROM python:3.12-slim AS base"),
        ({"base_image": "mine:1", "python_version": "3.13"}, "FROM mine:1 AS base"),
        ({"dockerfile_lines": ["RUN one", "ENV A=b"]}, "ENV A=b"),
        ({"keep_pkg_tools": ["pip"]}, "RUN pip install pip && pip check"),
        ({"keep_pkg_tools": True}, "RUN pip install pip setuptools wheel && pip check"),
        ({"pip_config_file": "./my.conf"}, "COPY my.conf /etc/pip.conf"),
    ],
)
def test_the_keys_of_the_file_are_heeded(project: Path, keys: dict[str, Any], line: str) -> None:
    (project.parent / "my.conf").touch()
    write(project, **keys)
    assert line in printed(project)


def test_flags_win_over_the_file(project: Path) -> None:
    write(project, base_image="mine:1")
    (project.parent / "ours.whl").touch()
    lines = printed(project, "--base-image", "other:2", "--package", "ours.whl")
    assert "FROM other:2 AS base" in lines
    assert lines.index("COPY ours.whl /tmp/") + 1 == lines.index("RUN pip install /tmp/ours.whl")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"python_version": "3.10"}, '"python_version" must be one of 3.11'),
        ({"python_version": 3.12}, '"python_version" must be one of'),
        (
            {"image_distro": "wolfi"},
            "must be one of debian, bookworm, trixie, as a string. For another one name a",
        ),
        ({"dockerfile_lines": "RUN x"}, '"dockerfile_lines" must be a list'),
        ({"keep_pkg_tools": ["uv"]}, '"keep_pkg_tools" must be true, false or a list'),
        ({"pip_installer": "conda"}, '"pip_installer" must be one of'),
        ({"base_image": 5}, '"base_image" must be a string'),
        ({"pip_config_file": "none.conf"}, "pip_config_file names none.conf, which is no file"),
        ({"dependencies": [".."]}, '"dependencies" leads out of the project'),
    ],
)
def test_what_cannot_be_built_is_refused_and_told_by_check(
    project: Path, keys: dict[str, Any], said: str
) -> None:
    write(project, **keys)
    done = graphwire("dockerfile", "--config", project)
    assert done.returncode == 2
    assert said in done.stderr
    if "no file" not in said:
        assert said in graphwire("check", "--config", project).stdout


def test_a_file_is_not_written_over_unless_it_is_asked_for(project: Path) -> None:
    path = project.parent / "Dockerfile"
    assert graphwire("dockerfile", path, "--config", project).returncode == 0
    assert ".env*" in (project.parent / "Dockerfile.dockerignore").read_text().splitlines()
    again = graphwire("dockerfile", path, "--config", project)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert graphwire("dockerfile", path, "--config", project, "--force").returncode == 0


ENGINE = """#!/bin/sh
echo "$0" "$@" > {said}
for word; do
  case $word in */Dockerfile) cp "$word" {said}.file; cp "$word.dockerignore" {said}.ignore ;; esac
done
exit 7
"""


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_engine_gets_the_file_the_folder_and_what_else_was_said(
    project: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, said = tmp_path / "bin", tmp_path / "said"
    programs.mkdir()
    (programs / engine).write_text(ENGINE.format(said=said))
    (programs / engine).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    done = graphwire("build", "-c", project, "-t", "mine:1", "--engine", engine, "--no-cache")
    assert done.returncode == 7, done.stderr
    words = said.read_text().split()
    assert words[:3] == [str(programs / engine), "build", "-f"]
    assert words[-5:] == ["-t", "mine:1", "--pull", "--no-cache", str(project.parent)]
    assert (tmp_path / "said.file").read_text().splitlines() == printed(project)
    assert ".git" in (tmp_path / "said.ignore").read_text().splitlines()
    assert ("--ignorefile" in words) == (engine == "podman")


def test_without_an_engine_the_way_out_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project.parent))
    done = graphwire("build", "-c", project, "-t", "mine")
    assert done.returncode == 2
    assert "neither docker nor podman is on the PATH" in done.stderr
    assert "graphwire dockerfile" in done.stderr
    assert os.listdir(project.parent)
