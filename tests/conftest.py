"""Shared fixtures."""

import os
from pathlib import Path

import pytest

# Tiny networks gain nothing from threads, and lose much where something else runs on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Figures from the reference implementation (see its README)."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real market data in {folder}, which is no part of the project")
    return folder
