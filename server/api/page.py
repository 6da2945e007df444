"""The page of the API reference, with the rule that keeps everything else out of it."""

import base64
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse

_TEXT = Path(__file__).with_name("docs.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    """What a policy calls the inline scripts or styles of the page."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", _TEXT, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


# The page runs its own script and asks its own server, and nobody may put it into a frame (reliability B5).
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hashes('script')}",
        f"style-src {_hashes('style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def page() -> HTMLResponse:
    return HTMLResponse(_TEXT, headers={"content-security-policy": POLICY})
