"""The built-in samples."""

import pytest

from kronos import read_klines
from kronos.klines.samples import SAMPLES, sample_path


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_read_as_daily_bars_from_1999(name):
    bars = read_klines(sample_path(name))
    assert len(bars) > 4000
    assert bars["timestamps"].iloc[0].year == 1999


def test_unknown_sample_raises_with_known_names():
    with pytest.raises(ValueError, match="no sample 'dax': there are sp500, nasdaq"):
        sample_path("dax")
