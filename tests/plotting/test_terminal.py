"""The picture in a terminal: its width, where prices lie, and what it shows without Unicode."""

import numpy as np
import pandas as pd
import pytest

from kronos.plotting.fan import Chart
from kronos.plotting.terminal_fan import terminal_fan


def chart(history=100, horizon=10, truth=False):
    times = pd.date_range("2024-01-01", periods=history + horizon, freq="D")
    past = pd.DataFrame({"open": 100.0, "high": 110.0, "low": 90.0, "close": 105.0}, index=times[:history])
    future = pd.DataFrame({"open": 100.0, "high": 102.0, "low": 98.0, "close": 100.0}, index=times[history:])
    bands = [
        (0.8, np.full(horizon, 92.0), np.full(horizon, 108.0)),
        (0.5, np.full(horizon, 98.0), np.full(horizon, 102.0)),
    ]
    return Chart(past, future, bands, np.full(horizon, 100.0), None, future if truth else None)


def drawn(lines):
    return [line.plain for line in lines]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("horizon", [1, 10, 300])
def test_no_line_is_wider_than_the_terminal(width, horizon):
    lines = drawn(terminal_fan(chart(horizon=horizon), width))
    assert max(map(len, lines)) <= width and len(lines) == 21
    assert len(lines[11]) == min(width, lines[11].index("│") + 1 + 100 + horizon) or horizon == 300


def test_the_median_lies_in_the_row_of_its_price_inside_its_bands():
    lines = drawn(terminal_fan(chart(), 80))
    column = [line[-1] for line in lines[:-1] if len(line) == 80]
    assert column.index("━") == 10, "100 is halfway between 90 and 110"
    assert column.index("▒") < column.index("▓") < column.index("━")


def test_a_candle_has_its_body_between_open_and_close():
    lines = drawn(terminal_fan(chart(), 80))
    column = [line[20] for line in lines[:-1]]
    assert column[0] == "╷" or column[0] == "│"
    body = [row for row, sign in enumerate(column) if sign in "█▀▄"]
    assert body == [5, 6, 7, 8, 9, 10], "from 105 to 100, of 20 rows from 110 to 90"


def test_what_happened_is_marked():
    assert "●" in "".join(drawn(terminal_fan(chart(truth=True), 80)))


def test_without_unicode_every_sign_is_ascii():
    assert "".join(drawn(terminal_fan(chart(truth=True), 80, unicode=False))).isascii()


def test_a_terminal_that_is_too_narrow_is_refused():
    with pytest.raises(ValueError, match="needs a terminal of 40 columns, this one has 39"):
        terminal_fan(chart(), 39)
