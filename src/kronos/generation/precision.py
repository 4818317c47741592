"""Types that the model's weights may be rounded to for generation, on a CPU and on a GPU."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16", "int8")
ON_CPU: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
ON_GPU: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
