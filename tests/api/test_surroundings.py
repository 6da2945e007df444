"""What every request passes on its way in and out."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.app import surroundings
from server.rules.cors import CorsRules
from server.rules.http import HttpRules

PAGE = "https://page.example"


async def broken(request: Request) -> Response:
    raise RuntimeError("a defect")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("welcome")
    await socket.close()


def app(rules: CorsRules) -> Starlette:
    return Starlette(
        routes=[Route("/", broken), WebSocketRoute("/ws", echo)], middleware=surroundings(HttpRules(rules))
    )


async def test_a_page_on_another_origin_reads_that_there_was_a_defect() -> None:
    transport = httpx.ASGITransport(app(CorsRules(origins=(PAGE,))), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.get("/", headers={"origin": PAGE})
    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal Server Error"})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("origin", [PAGE, "http://testserver", None])
def test_a_websocket_is_opened_for_the_origins_that_may_call(origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    with TestClient(app(CorsRules(origins=(PAGE,)))).websocket_connect("/ws", headers=headers) as socket:
        assert socket.receive_text() == "welcome"


def test_a_websocket_of_another_origin_is_refused_which_no_browser_does_by_itself() -> None:
    client = TestClient(app(CorsRules(origins=(PAGE,))))
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/ws", headers={"origin": "https://evil.example"}),
    ):
        pass
