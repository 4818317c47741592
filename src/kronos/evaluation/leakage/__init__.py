"""Leak checks: that no forecast depends on the future, and that test data were kept apart from training."""

from __future__ import annotations

from kronos.evaluation.leakage.findings import AuditReport, Finding
from kronos.evaluation.leakage.run import audit

__all__ = ["AuditReport", "Finding", "audit"]
