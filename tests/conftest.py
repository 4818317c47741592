"""Shared fixtures."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kronos.generation.fused import ProductSettings, use_products

# Tiny networks gain nothing from threads, and lose much where something else runs on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A process started in the background (nohup make test &) ignores Ctrl-C, and so do its children, whose answer to it is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A suite that is ended from outside ends the processes of its tests, as after Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Figures from the reference implementation (see its README)."""
    return ROOT / "tests" / "golden"


PRODUCTS = {
    "avx2": ProductSettings.of_processor(avx512=False, amx=False, amd=False),
    "avx512": ProductSettings.of_processor(avx512=True, amx=False, amd=False),
    "amx": ProductSettings.of_processor(avx512=True, amx=True, amd=False),
    "avx512-amd": ProductSettings.of_processor(avx512=True, amx=False, amd=True),
    "bf16-amd": ProductSettings.of_processor(avx512=True, amx=False, amd=True, bf16=True),
    "mkl-only": ProductSettings(0, 0, 0, 0, 4, 4, False),
}


@pytest.fixture(params=list(PRODUCTS.values()), ids=list(PRODUCTS))
def products(request) -> Iterator[ProductSettings]:
    """The matrix products that the engine takes on each kind of processor, on this one."""
    if request.param.pack_bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN has no products of bfloat16 on this processor")
    with use_products(request.param):
        yield request.param


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real market data in {folder}, which is no part of the project")
    return folder
