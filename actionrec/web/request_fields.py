"""Check of a request's parameters and fields: a misspelt one is refused, as it would silently have no effect."""

from collections.abc import Collection, Iterable
from typing import Any

from actionrec.core.text import first_few, quoted
from actionrec.web.predict_request import RequestError


def refuse_unknown(kind: str, sent: Iterable[tuple[str, Any]], known: Collection[str]) -> None:
    """Refuse names that do not exist.

    Args:
        kind: "parameter" or "field", for the message.
        sent: names and values, as Starlette's `multi_items` gives them.
        known: the names that the address takes.

    Raises:
        RequestError: a name is unknown, or was sent twice.
    """
    names = [name for name, _ in sent]
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        expected = ", ".join(known) or "none"
        raise RequestError(400, f"{first_few([*map(quoted, unknown)])}: no such {kind}; expected {expected}.")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise RequestError(400, f"{first_few(twice)}: sent more than once.")
