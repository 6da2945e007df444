"""A Dockerfile without an engine: its commands run in a directory that stands for the image's root.

Every stage has the same directory, so that what one stage copies from another is there already; only a stage
`FROM scratch` has one of its own. `python` and `pip` of the base image are those of this machine. The server
is then started as the image says: as its user, on a root that is read-only for every process in it, with one
writable volume.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PLACES = ("opt/graphwire", "app", "data", "src", "tmp", "etc/pip.conf")
IN_IMAGE = re.compile(rf"(?<![\w./:-])/({'|'.join(map(re.escape, PLACES))})(?![\w-])")
CAPABILITY = "dac_read_search"  # to read what of this machine stands for the image, as all can in an image
# A namespace of its own in which nothing but the volume and the kernel's own can be written.
READ_ONLY = """
mount --make-rprivate /
mount --bind "$VOLUME" "$VOLUME"
awk '{print $5}' /proc/self/mountinfo | sort -u | while read -r place; do
  case $place in "$VOLUME" | /proc* | /sys* | /dev | /dev/pts) ;; *) mount -o remount,bind,ro "$place" ;; esac
done
exec "$@"
"""


@dataclass
class Stage:
    root: Path
    environment: dict[str, str]
    folder: Path


@dataclass
class Image:
    """What is in a Dockerfile's last stage, and how it is run."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    user: int = 0
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def start(self, log: Path, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        """The command of the image with more arguments, in a container as an engine would make it."""
        with log.open("ab") as said:
            return subprocess.Popen(
                self._contained([*self.command, *arguments]),
                cwd=self.folder,
                env={**self.environment, **environment, "VOLUME": str(self.root / "data")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def is_healthy(self, port: int) -> bool:
        """What the health check of the image says of a server on another port."""
        command = [word.replace("8123", str(port)) for word in self.health]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _contained(self, command: list[str]) -> list[str]:
        root = os.geteuid() == 0
        as_user = [
            *("setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--no-new-privs"),
            *(f"--inh-caps=-all,+{CAPABILITY}", f"--ambient-caps=+{CAPABILITY}"),
            f"--bounding-set=-all,+{CAPABILITY}",
        ]
        unshare = ["unshare", "--mount"] if root else ["unshare", "--mount", "--map-root-user"]
        return [*unshare, "bash", "-euc", READ_ONLY, "bash", *(as_user if root else []), *command]


def build(dockerfile: str, context: Path, root: Path) -> Image:
    """Do what a Dockerfile says. A command that fails is an error."""
    return _Build(context, root).all(dockerfile)


class _Build:
    def __init__(self, context: Path, root: Path) -> None:
        self._context, self._root = context, root
        self._stages: dict[str, Stage] = {}
        self.image = Image(root)
        for place in (*PLACES, "bin"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "tmp").mkdir(exist_ok=True)
        self._base = {"PATH": f"{self._tools()}:/usr/bin:/bin:/usr/sbin:/sbin"}
        # Of this machine, not of the image: where pip finds packages.
        self._base |= {name: text for name, text in os.environ.items() if name.startswith("PIP_")}

    def all(self, dockerfile: str) -> Image:
        for instruction, text in _instructions(dockerfile):
            getattr(self, f"_{instruction.lower()}")(text)
        self.image.environment, self.image.folder = self._stage.environment, self._stage.folder
        return self.image

    def _tools(self) -> Path:
        """`python` and `pip` as the base image has them."""
        tools = self._root / "bin"
        tools.mkdir(exist_ok=True)
        base = getattr(sys, "_base_executable", sys.executable)
        for name, command in (("python", f'"{base}"'), ("pip", f'"{sys.executable}" -m pip')):
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (tools / name).chmod(0o755)
        return tools

    def _here(self, text: str) -> str:
        """A text with the places of the image in the directory that stands for it."""
        return IN_IMAGE.sub(lambda found: f"{self._root}/{found[1]}", text)

    def _from(self, text: str) -> None:
        base, _, name = text.partition(" AS ")
        if base in self._stages:
            before = self._stages[base]
            stage = Stage(before.root, dict(before.environment), before.folder)
        else:
            root = self._root / "scratch" if base == "scratch" else self._root
            stage = Stage(root, dict(self._base), root)
        self._stages[name] = self._stage = stage

    def _env(self, text: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", self._here(text)):
            self._stage.environment[name] = value.replace("$PATH", self._stage.environment["PATH"])

    def _run(self, text: str) -> None:
        if os.geteuid() != 0:
            text = re.sub(r"--(owner|group)=\d+ ", "", text)
        self._stage.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", self._here(text)],
            cwd=self._stage.folder,
            env={**self._stage.environment, "PIP_NO_CACHE_DIR": "0", "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"RUN {text}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def _copy(self, text: str) -> None:
        *words, target = text.split()
        source = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
        names = [word for word in words if not word.startswith("--")]
        into = Path(self._here(target)) if target.startswith("/") else self._stage.folder / target
        if source is not None and self._stages[source].root == self._stage.root:
            assert all(Path(self._here(name)).exists() for name in names), text
            return
        for name in names:
            origin = (self._stages[source].root if source else self._context) / name
            if origin.is_dir():
                shutil.copytree(origin, into, dirs_exist_ok=True, ignore=_waste)
            else:
                into.mkdir(parents=True, exist_ok=True) if target.endswith("/") else None
                shutil.copy(origin, into)

    def _workdir(self, text: str) -> None:
        self._stage.folder = Path(self._here(text))
        self._stage.folder.mkdir(parents=True, exist_ok=True)

    def _user(self, text: str) -> None:
        self.image.user = int(text.partition(":")[0])

    def _volume(self, text: str) -> None:
        self.image.volumes.append(text)

    def _expose(self, text: str) -> None:
        assert text == "8123"

    def _cmd(self, text: str) -> None:
        self.image.command = json.loads(self._here(text))

    def _healthcheck(self, text: str) -> None:
        self.image.health = json.loads(self._here(text.partition(" CMD ")[2]))


def _waste(_: str, names: list[str]) -> list[str]:
    """What a .dockerignore keeps out."""
    return [name for name in names if name in (".git", ".venv", "__pycache__", ".env", ".graphwire")]


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    found = [line.partition(" ") for line in joined.splitlines()]
    return [(instruction, text.strip()) for instruction, _, text in found]
