"""Leak checks: does anything of the future reach a forecast, and was the test kept apart from training?"""

from __future__ import annotations

from kronos.evaluation.leakage.findings import AuditReport, Finding
from kronos.evaluation.leakage.run import audit

__all__ = ["AuditReport", "Finding", "audit"]
