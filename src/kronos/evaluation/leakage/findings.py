"""Findings of an audit, one for each check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from kronos.errors import Spelling, spell

Status = Literal["ok", "leak", "warning", "unknown"]


@dataclass(frozen=True)
class Finding:
    """Result of one check of an audit.

    Attributes:
        status: "ok": no leak found; "leak": future or test data are used where they must not be; "warning": a reason to doubt;
            "unknown": the check could not run.
        check: name of the check.
        text: the result in a sentence.
    """

    check: str
    status: Status
    text: str

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"status must be one of {', '.join(get_args(Status))}, found {self.status!r}")


@dataclass
class AuditReport:
    """All findings of an audit."""

    findings: list[Finding] = field(default_factory=list)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def of(self, status: Status) -> list[Finding]:
        return [f for f in self.findings if f.status == status]

    @property
    def leaks(self) -> list[Finding]:
        return self.of("leak")

    def __str__(self) -> str:
        return self.text()

    def text(self, spelling: Spelling = str) -> str:
        """Return the findings in a line each, with arguments as a front end spells them."""
        width = max((len(f.check) for f in self.findings), default=0)
        lines = [f"{f.status.upper():8}{f.check:{width}}  {spell(f.text, spelling)}" for f in self.findings]
        leaks, doubts = len(self.leaks), len(self.of("warning"))
        end = f"{leaks} leak{'s' if leaks != 1 else ''} found" if leaks else "no leak found"
        return "\n".join([*lines, end + (f", {doubts} warning{'s' if doubts != 1 else ''}" if doubts else "")])
