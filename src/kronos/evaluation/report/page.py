"""A self-contained HTML page from sections of words, tables and pictures; everything from data is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from kronos.plotting.html import render_page


@dataclass
class Cell:
    text: str
    kind: str = ""
    """"better", "worse" or nothing"""


@dataclass
class Row:
    cells: list[Cell]
    strong: bool = False


@dataclass
class Section:
    """One part of a page; ``picture`` is a PNG in base64."""

    title: str
    note: str = ""
    picture: str = ""
    header: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def picture(content: bytes) -> str:
    return base64.b64encode(content).decode()


def render(title: str, facts: str, found: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page as HTML; the sentences ``found`` come first."""
    return render_page("evaluation", title=title, facts=facts, found=found, sections=sections)
