"""Numbers of arguments and of settings."""

from typing import Any

import numpy as np
import pytest

from kronos.heads import HeadSettings
from kronos.nn import ConfigError
from kronos.nn.config import ModelConfig
from kronos.number_checks import finite, is_plain_number, is_plain_whole, is_real, is_whole, single_fraction, whole


def test_arguments_may_be_numbers_of_numpy_and_are_never_bools():
    assert is_whole(np.int64(3)) and is_real(np.float32(0.5)) and is_real(float("inf"))
    assert not any(check(True) for check in (is_whole, is_real, is_plain_whole, is_plain_number))
    assert type(whole(np.int64(3), "n", 3)) is int and type(finite(np.float32(0.5), "x")) is float
    assert single_fraction(1, "x", closed=True) == 1.0
    for call in (
        lambda: whole(2, "n", 3),
        lambda: whole(3.0, "n", 3),
        lambda: finite(np.inf, "n"),
        lambda: single_fraction(1, "n"),
    ):
        with pytest.raises(ValueError, match=r"^n must be a "):
            call()


def test_settings_are_kept_as_json_and_take_python_s_own_numbers_alone():
    assert not is_plain_whole(np.int64(3)) and not is_plain_number(np.float32(0.5))
    with pytest.raises(ValueError, match=r"^epochs must be a whole number of at least 1, found "):
        HeadSettings(epochs=np.int64(3))  # type: ignore[arg-type]
    shape: dict[str, Any] = {
        "s1_bits": 4,
        "s2_bits": 4,
        "n_layers": np.int64(1),
        "d_model": 16,
        "n_heads": 2,
        "ff_dim": 16,
        "learn_te": True,
    }
    drops: dict[str, Any] = dict.fromkeys(
        ("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p", "token_dropout_p"), 0.0
    )
    with pytest.raises(ConfigError, match=r"^n_layers must be a whole number of at least 1, found "):
        ModelConfig(**shape, **drops)
