"""Which pages of other origins may call the server: the rules that the door keeps."""

from dataclasses import dataclass

# What runs on the developer's own machine, on whatever port.
LOCALHOST = r"https?://(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])(:\d+)?"

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

# Browsers hide every other header from clients on other origins (contract/clients.md 2).
EXPOSED = ("content-location", "location", "x-pagination-total", "x-pagination-next", "x-request-id")


@dataclass(frozen=True, slots=True)
class CorsRules:
    """`*` in `origins`, `methods` or `headers` is all of them; `origin_regex` must match a whole origin."""

    origins: tuple[str, ...] = ()
    origin_regex: str | None = LOCALHOST
    methods: tuple[str, ...] = METHODS
    headers: tuple[str, ...] = ("*",)
    credentials: bool = False
    exposed: tuple[str, ...] = EXPOSED
    max_age_seconds: int = 600
    private_network: bool = True
