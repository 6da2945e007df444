"""Our image and that of a user's project, without an engine: what their Dockerfiles say is done."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fix_cli import REPO, graphwire
from fix_dockerfile import Image, build
from fix_server import eventually

SITE_BYTES_MAX = 300 * 10**6
pytestmark = [pytest.mark.alone, pytest.mark.embedded]


@pytest.fixture(scope="module")
def new_root() -> Iterator[Callable[[], Path]]:
    """Directories that everybody can enter; pytest keeps its own from other users."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="graphwire-image-")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ours(new_root: Callable[[], Path]) -> Image:
    return build((REPO / "Dockerfile").read_text(), REPO, new_root())


@pytest.fixture(scope="module")
def of_a_user(ours: Image, new_root: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What `graphwire new` and `graphwire dockerfile` write, with a folder and lines of his own."""
    project, root = tmp_path_factory.mktemp("user") / "app", new_root()
    assert graphwire("new", project).returncode == 0
    (project / "lib").mkdir()
    (project / "lib" / "requirements.txt").write_text("# nothing besides\n")
    config = project / "langgraph.json"
    config.write_text(
        config.read_text().replace('["."]', '[".", "./lib"],\n  "dockerfile_lines": ["ENV TASTE=lemon"]')
    )
    wheel = subprocess.run(
        ["pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", project, REPO],
        env=os.environ | {"PATH": f"{ours.root}/bin:/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wheel.returncode == 0, wheel.stderr
    (name,) = [path.name for path in project.glob("*.whl")]
    written = graphwire("dockerfile", root / "Dockerfile", "--config", config, "--package", name)
    assert written.returncode == 0, written.stderr
    # Layers that an engine would have too: what our image has installed need not come once more.
    ignored = shutil.ignore_patterns("graphwire-*.dist-info", "server", "bin")
    shutil.copytree(ours.root / "opt", root / "opt", symlinks=True, copy_function=os.link, ignore=ignored)
    return build((root / "Dockerfile").read_text(), project, root)


@pytest.fixture(params=["ours", "of_a_user"])
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(request.param)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_image_serves_as_nobody_on_a_read_only_root_and_ends_in_order(
    image: Image, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    # An engine gives it no home that can be written, and may give it any.
    process = image.start(log, "--port", str(port), HOME="/nonexistent")
    try:
        assert eventually(lambda: image.is_healthy(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        assert [
            line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "Uid" in line
        ] == ["Uid:" + f"\t{image.user}" * 4]
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/ok?check_db=1").json()["ok"] is True
        question = {"topic": "ice", "messages": [{"role": "user", "content": "Hello"}]}
        body = {"assistant_id": "agent", "input": question, "stream_mode": "messages-tuple"}
        assert "event: messages" in httpx.post(f"{url}/runs/stream", json=body, timeout=60).text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
        assert not image.is_healthy(port)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
    kept = [path.name for path in (image.root / "data" / "graphwire").iterdir()]
    assert "graphwire.db" in kept


def test_an_image_names_no_shell_and_one_volume(image: Image) -> None:
    assert image.command[0] == "graphwire"
    assert image.health[0] == "python"
    assert image.volumes == ["/data"]
    assert image.user > 0


def test_an_image_has_no_secrets_and_no_tools_that_install(of_a_user: Image) -> None:
    assert not (of_a_user.root / "app" / ".env").exists()
    assert of_a_user.environment["TASTE"] == "lemon"
    assert not list((of_a_user.root / "opt").glob("graphwire/lib/*/site-packages/pip"))


def test_what_is_installed_is_small_enough(ours: Image) -> None:
    """Beside the base image of Python, which we do not make."""
    files = [*(ours.root / "opt").rglob("*"), *(ours.root / "app").rglob("*")]
    size = sum(path.lstat().st_size for path in files if not path.is_dir())
    assert 50 * 10**6 < size < SITE_BYTES_MAX
