"""From bars to a backtest: Qlib data in and out, signals, Qlib's strategy, scores and the report."""
