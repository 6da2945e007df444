"""Pages on other origins, in a real Chromium: what they may ask and read, and who is kept out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fix_browser import Open, Page
from fix_server import CONFIG, RunningServer, Server

STUDIO = "https://studio.example"


def configured(folder: Path, cors: Any) -> Path:
    """The graphs of the tests under an `http.cors` of their own."""
    shutil.copytree(CONFIG.parent, folder / "graphs", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "graphs" / "langgraph.json"
    config.write_text(json.dumps({**json.loads(CONFIG.read_text()), "http": {"cors": cors}}))
    return config


def fetched(page: Page, url: str, **options: Any) -> Any:
    """What a page gets: status, the headers that it may read, the body; or the text of its TypeError."""
    return page.evaluate(
        f"""fetch({url!r}, {json.dumps(options)}).then(async (r) => (
            {{ status: r.status, headers: Object.fromEntries(r.headers), body: await r.text() }}
        ), String)"""
    )


def elsewhere(pages: str) -> str:
    """The same page on an origin that differs."""
    return pages.replace("127.0.0.1", "localhost") + "/blank.html"


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page("blank")


def posting(body: Any, **headers: str) -> dict[str, Any]:
    headers = {"content-type": "application/json", "x-api-key": "k", "x-auth-scheme": "langsmith"} | headers
    return {"method": "POST", "headers": headers, "body": json.dumps(body)}


def test_a_page_reads_the_headers_that_the_clients_need(page: Page, server: Server) -> None:
    run = posting({"assistant_id": "echo", "input": {"x": 1}}, **{"last-event-id": "-1", "prefer": "x"})
    streamed = fetched(page, f"{server.url}/runs/stream", **run)
    assert streamed["status"] == 200
    assert {"location", "content-location", "x-request-id"} <= set(streamed["headers"])
    found = fetched(page, f"{server.url}/assistants/search", **posting({"limit": 1}))
    assert {"x-pagination-total", "x-pagination-next"} <= set(found["headers"])


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_page_may_use_every_method(page: Page, server: Server, method: str) -> None:
    thread = f"{server.url}/threads/{server.new_thread()}"
    options = posting({}) if method == "PATCH" else {}
    assert fetched(page, thread, **{**options, "method": method})["status"] < 300


def test_a_page_learns_why_it_was_refused(page: Page, server: Server) -> None:
    refused = fetched(page, f"{server.url}/runs/wait", **posting({"assistant_id": "nobody"}))
    assert (refused["status"], "nobody" in refused["body"]) == (422, True)


def test_studio_may_call_a_server_in_a_private_network(start_server: RunningServer) -> None:
    server = start_server(CORS_ALLOW_ORIGINS=STUDIO)
    asked = {
        "Origin": STUDIO,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key,x-auth-scheme",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = server.request("OPTIONS", "/threads", headers=asked)
    assert answer.status == 200
    assert answer.header("access-control-allow-private-network") == "true"
    assert answer.header("access-control-allow-headers") == "content-type,x-api-key,x-auth-scheme"


def test_only_the_origins_of_a_list_are_let_in_with_their_cookies(
    open_page: Open, pages: str, start_server: RunningServer, tmp_path: Path
) -> None:
    config = configured(
        tmp_path,
        {
            "allow_origins": [pages],
            "allow_credentials": True,
            "allow_methods": ["GET", "POST"],
            "allow_headers": ["x-api-key", "content-type"],
            "expose_headers": ["date"],
            "max_age": 60,
        },
    )
    server = start_server(config)
    page, stranger = open_page("blank"), open_page("blank")
    stranger.go(elsewhere(pages))
    headers = {"x-api-key": "k", "content-type": "application/json"}
    search = {"method": "POST", "headers": headers, "body": "{}"}
    read = fetched(page, f"{server.url}/assistants/search", credentials="include", **search)
    assert (read["status"], {"date", "x-pagination-total"} <= set(read["headers"])) == (200, True)
    for url in ("/ok", "/assistants/search"):
        assert "Failed to fetch" in fetched(stranger, server.url + url)
    other = {**search, "headers": {**headers, "x-other": "1"}}
    assert "Failed to fetch" in fetched(page, f"{server.url}/assistants/search", **other)
    assert "Failed to fetch" in fetched(page, f"{server.url}/threads/{server.new_thread()}", method="DELETE")


def test_a_regular_expression_keeps_all_others_out(
    page: Page, pages: str, start_server: RunningServer
) -> None:
    server = start_server(GRAPHWIRE_CORS_ALLOW_ORIGIN_REGEX=r"http://127\.0\.0\.1:[0-9]+")
    assert fetched(page, f"{server.url}/ok")["status"] == 200
    page.go(elsewhere(pages))
    assert "Failed to fetch" in fetched(page, f"{server.url}/ok")
