"""Web pages as attackers: other hosts, other sites, bodies that need no leave, and what answers tell
(reliability B1 to B5, S5)."""

import json
import re
from pathlib import Path
from typing import Any

import fix_raw
import pytest
import wire
from fix_browser import Open
from fix_cli import Start, project, start, url_of
from fix_server import RunningServer, Server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

EVIL = "https://evil.example"
__all__ = ["project", "start"]

RUN = {"assistant_id": "echo", "input": {"x": 1}}


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> wire.Response:
    return wire.request(port, method, path, body, headers=headers)


# ------------------------------------------------------------------------------- under which name


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8123",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost:8123@evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]:8123",
        "127.0.0.1/evil",
        "",
        "evil.example#localhost",
    ],
)
@pytest.mark.parametrize("path", ["/ok", "/info", "/docs", "/threads/search"])
def test_a_server_on_loopback_is_not_whoever_points_there(server: Server, host: str, path: str) -> None:
    method = "POST" if "search" in path else "GET"
    answer = ask(server.port, method, path, {} if method == "POST" else None, Host=host)
    assert (answer.status, "GRAPHWIRE_ALLOWED_HOSTS" in answer.json()["detail"]) == (421, True)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8123", "[::1]", "[::1]:8123", "app.localhost"],
)
def test_a_server_on_loopback_has_the_names_of_this_machine(server: Server, host: str) -> None:
    assert ask(server.port, "GET", "/info", Host=host).status == 200


def test_a_websocket_is_no_way_around_the_name(server: Server) -> None:
    thread = server.new_thread()
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{server.port}/threads/{thread}/stream/events",
            additional_headers={"Host": "evil.example"},
        )
    assert refused.value.response.status_code in (400, 403)


def test_other_names_can_be_allowed(start_server: RunningServer) -> None:
    server = start_server(GRAPHWIRE_ALLOWED_HOSTS="api.example,*.team.example")
    for host, status in {
        "api.example": 200,
        "a.b.team.example": 200,
        "localhost": 200,
        "team.example": 421,
        "evilteam.example": 421,
        "evil.example": 421,
    }.items():
        assert ask(server.port, "GET", "/info", Host=host).status == status


def test_a_server_for_the_network_has_every_name_until_some_are_listed(project: Path, start: Start) -> None:
    everywhere = ("serve", "--config", project, "--host", "0.0.0.0", "--port", "0")
    port = int(url_of(start(*everywhere)).rsplit(":", 1)[1])
    assert ask(port, "GET", "/info", Host="api.example").status == 200


def test_a_server_for_the_network_that_has_names_answers_probes_under_any(
    project: Path, start: Start
) -> None:
    """Those of Kubernetes name the address of the pod."""
    everywhere = ("serve", "--config", project, "--host", "0.0.0.0", "--port", "0")
    port = int(url_of(start(*everywhere, GRAPHWIRE_ALLOWED_HOSTS="api.example")).rsplit(":", 1)[1])
    assert ask(port, "GET", "/ok", Host="10.0.0.7:8123").status == 200
    assert ask(port, "GET", "/info", Host="10.0.0.7:8123").status == 421
    assert ask(port, "GET", "/info", Host="api.example").status == 200


# ------------------------------------------------------------------------------- pages of other sites


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost.evil.example"])
def test_a_page_of_another_site_may_read_nothing(server: Server, origin: str) -> None:
    for method, path in (("GET", "/info"), ("GET", "/openapi.json")):
        answer = ask(server.port, method, path, Origin=origin)
        assert answer.header("access-control-allow-origin") is None
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    refused = ask(server.port, "OPTIONS", "/threads", **asked)
    assert refused.status == 400
    assert refused.header("access-control-allow-origin") is None
    assert refused.header("access-control-allow-private-network") is None


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000"])
def test_a_page_on_localhost_may_call_wherever_it_comes_from(server: Server, origin: str) -> None:
    answer = ask(server.port, "POST", "/threads", {}, Origin=origin, **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, origin)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("origin", [EVIL, None])
def test_a_page_of_another_site_changes_nothing(server: Server, method: str, origin: str | None) -> None:
    thread = server.new_thread()
    headers = {"Sec-Fetch-Site": "cross-site"} | ({"Origin": origin} if origin else {})
    path = "/threads" if method == "POST" else f"/threads/{thread}"
    answer = ask(server.port, method, path, {}, **headers)
    assert (answer.status, "CORS_ALLOW_ORIGINS" in answer.json()["detail"]) == (403, True)
    assert server.request("GET", f"/threads/{thread}").status == 200


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_requests_of_ones_own_pages_pass(server: Server, site: str) -> None:
    """Also through a proxy that has another name than the server knows."""
    assert ask(server.port, "POST", "/threads", {}, **{"Sec-Fetch-Site": site, "Origin": EVIL}).status == 200


def test_a_page_that_is_listed_may_call(start_server: RunningServer) -> None:
    server = start_server(CORS_ALLOW_ORIGINS="https://app.example")
    for origin, status in {"https://app.example": 200, EVIL: 403, "http://localhost:3000": 403}.items():
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": origin}
        assert ask(server.port, "POST", "/threads", {}, **headers).status == status


def test_every_page_may_call_where_that_is_asked_for(start_server: RunningServer) -> None:
    server = start_server(CORS_ALLOW_ORIGINS="*")
    answer = ask(server.port, "POST", "/threads", {}, Origin=EVIL, **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, "*")


# ------------------------------------------------------------------------------- what a body is


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "x",
        None,
    ],
)
def test_a_body_that_needs_no_leave_to_be_sent_starts_no_run(server: Server, kind: str | None) -> None:
    raw = json.dumps(RUN).encode()
    headers = {"Content-Length": str(len(raw))} | ({"Content-Type": kind} if kind else {})
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    with fix_raw.connect(server) as sock:
        sock.sendall(b"POST /runs/wait HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n" + raw)
        answer = wire.Response(sock, "POST")
        assert (answer.status, "application/json" in answer.json()["detail"]) == (415, True)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/ld+json"]
)
def test_a_body_that_says_it_is_json_is_read(server: Server, kind: str) -> None:
    assert server.request("POST", "/threads", {}, headers={"Content-Type": kind}).status == 200


def test_what_has_no_body_need_not_say_what_it_is(server: Server) -> None:
    thread = server.new_thread()
    assert server.request("POST", f"/threads/{thread}/copy").status == 200
    assert server.request("DELETE", f"/threads/{thread}").status == 204


def test_other_types_can_be_allowed(start_server: RunningServer) -> None:
    server = start_server(GRAPHWIRE_REQUIRE_JSON="false")
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = ask(server.port, "POST", "/runs/wait", RUN, **{"Content-Type": kind})
        assert answer.json()["x"] == 1


# ------------------------------------------------------------------------------- what answers tell


@pytest.mark.parametrize("path", ["/threads/", "/ok/", "/docs/", "//threads", "/runs/stream/"])
def test_nobody_is_led_to_a_place_that_the_request_names(server: Server, path: str) -> None:
    answer = ask(server.port, "GET", path)
    assert (answer.status, answer.header("location")) == (404, None)


@pytest.mark.parametrize("path", ["/ok", "/docs", "/nothing", "/threads/x"])
def test_answers_are_what_they_say_and_name_no_software(server: Server, path: str) -> None:
    answer = ask(server.port, "GET", path)
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("server") is None


def test_the_reference_page_takes_nothing_from_elsewhere(server: Server) -> None:
    answer = ask(server.port, "GET", "/docs")
    policy = str(answer.header("content-security-policy"))
    text = answer.body().decode()
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


def test_the_reference_page_works_within_its_own_rules(open_page: Open, server: Server) -> None:
    page = open_page("blank")
    page.go(f"{server.url}/docs")
    page.until_text("#operations", "/threads/{thread_id}/runs/stream")
    assert page.evaluate("getComputedStyle(document.querySelector('.method')).fontWeight") == "700"
    assert page.browser.complaints.get(page.session, []) == []


@pytest.mark.parametrize("spelled", ["{}%2fstate", "..%2fthreads%2f{}", "urn:uuid:{}", "%7B{}%7D", "0x{}"])
def test_an_id_is_spelled_in_one_way_and_an_encoded_slash_is_none(server: Server, spelled: str) -> None:
    answer = ask(server.port, "GET", "/threads/" + spelled.format(server.new_thread()))
    assert answer.status in (404, 422)


def test_an_encoded_slash_leads_to_no_operation(server: Server) -> None:
    assert ask(server.port, "GET", f"/threads%2f{server.new_thread()}").status == 404
    assert ask(server.port, "GET", f"/threads/{server.new_thread()}%2Fstate").status == 404
