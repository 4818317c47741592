"""The matrix products that are detected run with any instructions that the environment allows."""

import json
import os
import sys
from pathlib import Path

import pytest

from kronos.generation.fused import ProductSettings
from tests.processes import run_process

ROOT = Path(__file__).parents[2]
DETECT = """
import json
from dataclasses import asdict
from kronos.generation.fused import product_settings
from tests.generation.test_fused import logits, network

model = network()
exact = logits(model)
for precision, error in (("bfloat16", 0.03), ("int8", 0.1)):
    assert 0 < (logits(model, precision) - exact).abs().max() / exact.abs().max() < error
print(json.dumps(asdict(product_settings())))
"""


@pytest.mark.parametrize("onednn", [None, "AVX2", "SSE41"])
@pytest.mark.parametrize("aten", [None, "avx2", "default"])
def test_detected_products_run_with_the_instructions_allowed(aten, onednn):
    allowed = {"ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}
    environment = {name: value for name, value in os.environ.items() if name not in allowed}
    environment |= {name: value for name, value in allowed.items() if value is not None}
    environment["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    found = run_process([sys.executable, "-c", DETECT], check=True, env=environment).stdout
    settings = ProductSettings(**json.loads(found))
    if aten is not None:
        assert settings == ProductSettings.of_processor(avx512=False, amx=False, amd=False)
    if onednn is not None:
        assert not settings.pack_bfloat16
