"""Colours for the handlers' source."""

import re

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<string>(?P<quote>\"{3}|\")[^\"]*(?P=quote))
      | (?P<keyword>\b(?:class|def|else|for|from|if|import|in|not|return|while)\b)
      | (?P<number>\b\d+\b)
      | (?P<plain>\w+|.|\n)""",
    re.VERBOSE,
)


@register.filter
def highlight(source: str) -> SafeString:
    """Python source as HTML with a ``span`` around what has a colour."""
    return format_html_join("", "{}", ((token(match),) for match in TOKEN.finditer(source)))


def token(match: re.Match[str]) -> str:
    kind = next(kind for kind in ("plain", "comment", "string", "keyword", "number") if match[kind])
    if kind == "plain":
        return match[0]
    return format_html('<span class="{}">{}</span>', kind, match[0])
