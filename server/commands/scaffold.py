"""`graphwire new`: a folder with a project that streams at once and needs no key."""

from pathlib import Path

from ..errors import ConfigError

TEMPLATE = Path(__file__).with_name("template")
# Names that tools would heed where the template lies.
_RENAMED = {"env": ".env", "env.example": ".env.example", "gitignore": ".gitignore"}


def create(folder: Path) -> list[str]:
    """Write the template into a folder, which is made if need be; returns the names of the files.

    Raises ConfigError, before anything is written, when one of them is there already.
    """
    files = {
        _RENAMED.get(file.name, file.name): file
        for file in sorted(TEMPLATE.iterdir())
        if file.is_file() and file.suffix != ".pyc"
    }
    if taken := [name for name in files if (folder / name).exists()]:
        raise ConfigError(f"{folder} has {', '.join(taken)} already: name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            (folder / name).write_bytes(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error
    return list(files)
