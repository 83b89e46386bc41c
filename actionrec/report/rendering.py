"""Render a report template with Jinja, and the YAML part of a card."""

import io
import re
from functools import cache
from typing import Any

import jinja2
from ruamel.yaml import YAML

from actionrec.core.text import first_few, percent
from actionrec.report import p_value
from actionrec.report.wording import bullets, clean, listed


class _MissingEntry(jinja2.StrictUndefined):
    """A record without an entry that a template uses: raises KeyError with the entry's name, as a dictionary does."""

    def __init__(self, hint: str | None = None, obj: Any = jinja2.utils.missing, name: str | None = None, *_: object) -> None:
        super().__init__(hint, obj, name, KeyError)  # type: ignore[arg-type]

    @property
    def _undefined_message(self) -> str:
        return self._undefined_name or ""


def render(template: str, **values: Any) -> str:
    """Fill in a template of this package's `templates` folder.

    Templates must apply the filter `clean` to names that come from users; nothing else escapes them. A line with only a tag
    leaves no line in the text, and several empty lines become one.

    Raises:
        KeyError: a record lacks an entry.
    """
    return re.sub(r"\n{3,}", "\n\n", _environment().get_template(template).render(values)).strip() + "\n"


def front_matter(document: dict[str, Any]) -> str:
    """The YAML part of a card, without the lines around it."""
    yaml, text = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, text)
    return text.getvalue()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("actionrec.report"),
        undefined=_MissingEntry,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bullets": bullets,
        "clean": clean,
        "listed": _listed,
        "p_value": p_value,
        "percent": percent,
        "thousands": _thousands,
    }
    return environment


def _listed(names: list[str], limit: int | None = None) -> str:
    return listed(names) if limit is None or len(names) <= limit else first_few(names, limit)


def _thousands(value: float, decimals: int = 0) -> str:
    return f"{value:,.{decimals}f}"
