"""Lists in parts: the headers that say what else there is, the fields that were asked for."""

from collections.abc import Collection
from typing import Any

from ..models import Page

TOTAL = "x-pagination-total"
NEXT = "x-pagination-next"


def headers(page: Page, total: int) -> dict[str, str]:
    """How many rows there are in all, and where the next page begins if there is one.

    The reference's total counts no further than the next page (contract/resources.md 1.3); ours is one.
    """
    following = page.offset + page.limit
    return {TOTAL: str(total)} | ({NEXT: str(following)} if following < total else {})


def selected(row: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The row with these fields only; with all of them if none were named."""
    return {name: value for name, value in row.items() if name in fields} if fields else row
