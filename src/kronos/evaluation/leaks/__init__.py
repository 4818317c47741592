"""Leak checks: does anything of the future reach a forecast, and was the test kept apart from training?"""

from __future__ import annotations

from kronos.evaluation.leaks.checks import audit
from kronos.evaluation.leaks.findings import Finding, Report

__all__ = ["Finding", "Report", "audit"]
