"""The samples."""

import sys
from pathlib import Path
from typing import get_args

import pytest

from kronos import read_klines
from kronos.calendars import future_timestamps
from kronos.klines.samples import OF_ARCH, OWN, SAMPLES, SampleName, available_samples, sample_path
from tests.processes import run_process

ROOT = Path(__file__).parents[2]


def test_names_of_the_service_are_those_of_the_samples():
    assert get_args(SampleName) == tuple(SAMPLES)


@pytest.mark.parametrize("name", OF_ARCH)
def test_sample_of_arch_is_read_as_daily_bars_from_1999(name):
    pytest.importorskip("arch")
    bars = read_klines(sample_path(name))
    assert len(bars) > 4000
    assert bars["timestamps"].iloc[0].year == 1999


@pytest.mark.parametrize("name", OWN)
def test_own_sample_is_read_whole_and_has_a_future(name):
    bars = read_klines(sample_path(name))
    assert len(bars) == 1600 and list(bars.columns)[-2:] == ["volume", "amount"]
    future = future_timestamps(bars["timestamps"], 20)
    assert set(future.time) <= set(bars["timestamps"].dt.time) and set(future.day_of_week) <= set(range(5))


def test_own_samples_are_those_that_the_script_makes(tmp_path):
    done = run_process([sys.executable, "tools/make_samples.py", "--out", str(tmp_path)], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name in OWN:
        made = read_klines(tmp_path / f"{name}.csv.gz")
        assert made.equals(read_klines(sample_path(name)))


def test_samples_of_arch_are_not_offered_without_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert available_samples() == OWN
    with pytest.raises(
        ValueError, match=r"sp500 needs arch, which is not installed: pip install 'kronos-forecast\[samples\]'"
    ):
        sample_path("sp500")


def test_unknown_sample_raises_with_known_names():
    with pytest.raises(ValueError, match="no sample 'dax': there are synthetic, synthetic-15m, sp500, nasdaq"):
        sample_path("dax")
