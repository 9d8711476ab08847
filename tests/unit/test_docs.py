"""The documentation's links lead somewhere, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_ws.conf_table import OPTIONS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "bench" / "NOTES.md"])


def prose(page: Path) -> str:
    """Its text without code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of its headings."""
    titles = re.findall(r"^#+ +(.+)$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert [name for name in OPTIONS if f"`{name}`" not in page] == []


def test_every_check_is_documented() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    page = (ROOT / "docs" / "settings.md").read_text()
    ids = set(re.findall(r"\b[EW]0\d\d\b", sources))
    assert ids
    assert ids == set(re.findall(r"django_ws\.([EW]\d{3})", page))


def test_every_check_has_an_id_of_its_own() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `(django_ws\.[EW]\d+)`", page, re.MULTILINE)
    assert sorted(set(rows)) == sorted(rows)


def test_every_test_that_is_named_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 40
    for file, name in named:
        sources = [path.read_text() for path in (ROOT / "tests").rglob(file)]
        assert any(re.search(rf"\bdef {name}\(", source) for source in sources), (file, name)
