"""API keys and tokens, without a line of code: a real server, a real provider of keys, the official SDK."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fix_auth import variant
from fix_server import RunningServer, Server
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from langgraph_sdk import get_client

ANN, BOB = "a-long-key-of-ann", "a-long-key-of-bob"
ISSUER, AUDIENCE = "https://login.example.com/", "graphwire"


class Provider:
    """Signs tokens, and serves the keys to check them with; counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False
        self.private: dict[str, Any] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                data = json.dumps(provider.document()).encode()
                self.send_response(500 if provider.broken else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.add("first")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/jwks"

    def add(self, kid: str) -> None:
        self.private[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def document(self) -> dict[str, Any]:
        keys = [
            {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}
            for kid, key in self.private.items()
        ]
        secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "shared"}
        return {"keys": [*keys, secret]}

    def token(self, kid: str = "first", *, headers: Any = None, **claims: Any) -> str:
        now = int(time.time())
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, **claims}
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, self.private[kid], "RS256", {"kid": kid, **(headers or {})})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def server(
    start_server: RunningServer, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    rules = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.url}
    config = variant(tmp_path_factory.mktemp("credentials"), {"jwt": rules})
    digest = hashlib.sha256(BOB.encode()).hexdigest()
    keys = {"ann": ANN, "bob": {"sha256": digest, "permissions": ["read"], "team": "blue"}}
    return start_server(config, GRAPHWIRE_API_KEYS=json.dumps(keys))


def status(server: Server, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", "/threads", {}, headers=named).status


# ------------------------------------------------------------------------------------------------- API keys


async def test_the_sdk_comes_in_with_a_key(server: Server) -> None:
    client = get_client(url=server.url, api_key=BOB)
    told: Any = await client.runs.wait(None, "whoami", input={})
    assert told["told"]["same"] == ["bob"] * 4
    assert told["told"]["permissions"] == ["read"]
    assert told["told"]["user"]["team"] == "blue"


def test_a_key_is_taken_as_a_bearer_token_too(server: Server) -> None:
    assert status(server, Authorization=f"Bearer {ANN}") == 200
    assert status(server, x_api_key=ANN) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_api_key": ""},
        {"x_api_key": ANN[:-1]},
        {"x_api_key": ANN + "x"},
        {"x_api_key": ANN.upper()},
        {"x_api_key": hashlib.sha256(BOB.encode()).hexdigest()},
        {"x_api_key": "x" * 17_000},
        {"Authorization": ANN},
        {"Authorization": f"Basic {ANN}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a.b.c"},
    ],
)
def test_what_is_no_key_is_nothing(server: Server, headers: dict[str, str]) -> None:
    assert status(server, **headers) == 401


# --------------------------------------------------------------------------------------------------- tokens


async def test_the_sdk_comes_in_with_a_token(server: Server, provider: Provider) -> None:
    token = provider.token(scope="read write", email="ann@example.com", name="Ann")
    client = get_client(url=server.url, api_key=None, headers={"Authorization": f"Bearer {token}"})
    told: Any = (await client.runs.wait(None, "whoami", input={}))["told"]  # type: ignore[index]
    assert told["user_id"] == "ann"
    assert told["permissions"] == ["read", "write"]
    assert told["email"] == ["ann@example.com"] * 2


def forged(provider: Provider) -> dict[str, str]:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600}
    public = provider.private["first"].public_key()
    pem = public.public_bytes(*_pem())
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    header, payload, signature = provider.token().split(".")
    own_key = {"jwk": json.loads(RSAAlgorithm.to_jwk(other.public_key())), "kid": "first"}
    return {
        "of another issuer": provider.token(iss="https://evil.example/"),
        "for somebody else": provider.token(aud="others"),
        "for nobody": provider.token(aud=None),
        "expired": provider.token(exp=now - 60),
        "without an end": provider.token(exp=None),
        "not yet valid": provider.token(nbf=now + 600),
        "without an identity": provider.token(sub=None),
        "with an empty identity": provider.token(sub=""),
        "unsigned": jwt.encode(claims, None, "none", {"kid": "first"}),
        "signed with our public key as a secret": _hmac(claims, pem),
        "signed with a shared secret": jwt.encode(
            claims, b"secret-secret-secret-secret-secret", "HS256", {"kid": "shared"}
        ),
        "signed by somebody else": jwt.encode(claims, other, "RS256", {"kid": "first"}),
        "with a key of its own": jwt.encode(claims, other, "RS256", own_key),
        "of another curve": jwt.encode(claims, curve, "ES256", {"kid": "first"}),
        "of an algorithm that was not allowed": jwt.encode(
            claims, provider.private["first"], "RS512", {"kid": "first"}
        ),
        "of an unknown key": jwt.encode(claims, other, "RS256", {"kid": "unknown"}),
        "changed": f"{header}.{payload[:-2]}AA.{signature}",
        "cut": f"{header}.{payload}",
        "too long": "x" * 20_000,
    }


def _pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


def _hmac(claims: Any, secret: bytes) -> str:
    """What PyJWT itself would not sign: the old confusion of algorithms."""
    import base64
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = (
        part(json.dumps({"alg": "HS256", "kid": "first"}).encode()) + b"." + part(json.dumps(claims).encode())
    )
    return (head + b"." + part(hmac.digest(secret, head, "sha256"))).decode()


def test_no_other_token_opens_anything(server: Server, provider: Provider) -> None:
    assert status(server, Authorization=f"Bearer {provider.token()}") == 200
    found = {
        what: status(server, Authorization=f"Bearer {token}") for what, token in forged(provider).items()
    }
    assert found == dict.fromkeys(found, 401)


def test_clocks_may_differ_a_little(server: Server, provider: Provider) -> None:
    assert status(server, Authorization=f"Bearer {provider.token(exp=int(time.time()) - 5)}") == 200


def test_unknown_keys_do_not_make_the_server_ask_the_provider_each_time(
    server: Server, provider: Provider
) -> None:
    before = provider.asked
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(30):
        token = jwt.encode({"sub": "x"}, other, "RS256", {"kid": f"made-up-{number}"})
        assert status(server, Authorization=f"Bearer {token}") == 401
    assert provider.asked - before <= 2


def test_keys_that_were_had_go_on_when_the_provider_is_away(
    start_server: RunningServer, provider: Provider, tmp_path: Path
) -> None:
    rules = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.url}
    server = start_server(variant(tmp_path, {"jwt": rules}))
    provider.broken = True
    try:
        assert status(server, Authorization=f"Bearer {provider.token()}") == 503  # nobody can tell
    finally:
        provider.broken = False


def test_keys_of_a_file_need_no_network(
    start_server: RunningServer, provider: Provider, tmp_path: Path
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = {**json.loads(ECAlgorithm.to_jwk(private.public_key())), "kid": "f", "alg": "ES256"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key]}))
    rules = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_file": "keys.json", "algorithms": ["ES256"]}
    rules |= {"identity_claim": "email", "permissions_claim": "roles"}
    server = start_server(variant(tmp_path, {"jwt": rules}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "email": "e@x", "roles": ["r"]}
    token = jwt.encode(claims, private, "ES256", {"kid": "f"})
    headers = {"Authorization": f"Bearer {token}"}
    run = {"assistant_id": "whoami", "input": {}}
    told = server.request("POST", "/runs/wait", run, headers=headers).json()["told"]
    assert (told["user_id"], told["permissions"]) == ("e@x", ["r"])
    assert status(server, Authorization=f"Bearer {provider.token()}") == 401
