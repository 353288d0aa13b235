"""HTML templates, with all names in them escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from otherwise.report import words


@cache
def pages() -> Environment:
    """Return the templates, with the words that they use as filters. They are compiled once in each process."""
    environment = Environment(
        loader=PackageLoader("otherwise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        probability=words.probability,
        share=words.share,
        signed=words.signed,
        concept=words.concept_name,
        size=words.size,
        place=words.place,
        findings=words.findings,
    )
    return environment
