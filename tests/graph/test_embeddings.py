"""Embeddings are found by path or by provider, and what cannot be used is refused in one sentence."""

from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings

from server.errors import StoreLoadError
from server.graph.embeddings import is_path, load_embeddings

GRAPHS = Path(__file__).parents[1] / "graphs"


@pytest.mark.parametrize("name", ["letters", "made"])
def test_a_file_gives_a_function_or_an_object(name: str) -> None:
    found = load_embeddings(f"./embed.py:{name}", GRAPHS)
    assert isinstance(found, Embeddings)
    assert found.embed_documents(["ab", "c"]) == [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


async def test_an_asynchronous_function_will_do() -> None:
    found = load_embeddings("./embed.py:later", GRAPHS)
    assert await found.aembed_documents(["a"]) == [[1.0, 0.0, 0.0]]


def test_a_module_is_found_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedpkg").mkdir()
    (tmp_path / "embedpkg" / "of_texts.py").write_text("def embed(texts): return [[1.0] for _ in texts]\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_embeddings("embedpkg.of_texts:embed", tmp_path).embed_query("x") == [1.0]


def test_a_provider_is_asked_for_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    found = load_embeddings("openai:text-embedding-3-small", GRAPHS)
    assert (type(found).__name__, vars(found)["model"]) == ("OpenAIEmbeddings", "text-embedding-3-small")


@pytest.mark.parametrize(
    ("embed", "path"),
    [
        ("./a.py:f", True),
        ("a.py:f", True),
        ("src/a.py:f", True),
        ("pkg.mod:f", True),
        ("openai:v1.5/x", False),
    ],
)
def test_only_paths_have_dots_and_slashes_before_the_colon(embed: str, path: bool) -> None:
    assert is_path(embed) is path


@pytest.mark.parametrize(
    ("embed", "cause"),
    [
        ("./missing.py:f", "there is no file"),
        ("./embed.py:missing", './embed.py has no variable "missing".'),
        ("./embed.py:text", "it is a str; name a function or an Embeddings object."),
        ("./embed.py:Letters", "it is the class Letters; name an object of it."),
        ("./exits.py:nothing", "has no variable"),
        ("no_such_package.module:f", "ModuleNotFoundError"),
        ("nobody:model", "nobody"),
        ("cohere:embed-v4", "pip install langchain-cohere"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cause(embed: str, cause: str) -> None:
    with pytest.raises(StoreLoadError) as refused:
        load_embeddings(embed, GRAPHS)
    assert refused.value.message.startswith(
        f'"store.index.embed" of langgraph.json ({embed}) cannot be loaded: '
    )
    assert cause in refused.value.message


def test_a_module_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken_embed.py").write_text("\nraise RuntimeError('not today')\n")
    with pytest.raises(StoreLoadError, match=r"RuntimeError: not today \(broken_embed.py, line 2\)"):
        load_embeddings("./broken_embed.py:f", tmp_path)
