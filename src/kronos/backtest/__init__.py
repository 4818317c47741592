"""Backtests on Qlib data: signals from forecasts, Qlib's strategy, scores and the report."""
