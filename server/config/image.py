"""The keys of langgraph.json about an image, checked (contract/resources.md 12). A server ignores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..errors import ConfigError
from .schema import Distro, PackageTool, PythonVersion

PYTHON_VERSION = "3.12"
_TEXTS = ("base_image", "pip_config_file", "api_version")
_INSTALLERS = ("auto", "pip", "uv")


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What the file says of the image."""

    python_version: str = PYTHON_VERSION
    distro: str | None = None
    base_image: str | None = None
    lines: tuple[str, ...] = ()
    pip_config_file: str | None = None
    kept_tools: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """The image that it is built on."""
        distro = f"-{self.distro}" if self.distro and self.distro != "debian" else ""
        return self.base_image or f"python:{self.python_version}-slim{distro}"


def image_rules(file: Path, raw: Mapping[str, Any]) -> ImageRules:
    """The rules of a langgraph.json. Raises ConfigError."""
    for key in _TEXTS:
        if not isinstance(raw.get(key), str | None):
            raise _wrong(file, key, "must be a string.")
    if raw.get("pip_installer") not in (None, *_INSTALLERS):
        raise _wrong(file, "pip_installer", f"must be one of {', '.join(_INSTALLERS)}; pip is taken.")
    return ImageRules(
        python_version=_one_of(file, raw, "python_version", get_args(PythonVersion)) or PYTHON_VERSION,
        distro=_one_of(file, raw, "image_distro", get_args(Distro)),
        base_image=raw.get("base_image"),
        lines=_lines(file, raw.get("dockerfile_lines")),
        pip_config_file=raw.get("pip_config_file"),
        kept_tools=_tools(file, raw.get("keep_pkg_tools")),
    )


def _one_of(file: Path, raw: Mapping[str, Any], key: str, choice: tuple[str, ...]) -> str | None:
    value = raw.get(key)
    if value is not None and value not in choice:
        other = " For another one name a base_image." if key == "image_distro" else ""
        raise _wrong(file, key, f"must be one of {', '.join(choice)}, as a string.{other}")
    return value


def _lines(file: Path, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise _wrong(file, "dockerfile_lines", 'must be a list of strings, such as ["RUN apt-get update"].')
    return tuple(value)


def _tools(file: Path, value: Any) -> tuple[str, ...]:
    tools = get_args(PackageTool)
    if value in (None, False):
        return ()
    if value is True:
        return tools
    if not isinstance(value, list) or not all(tool in tools for tool in value):
        raise _wrong(file, "keep_pkg_tools", f"must be true, false or a list of {', '.join(tools)}.")
    return tuple(value)


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')
