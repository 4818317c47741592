"""Metrics on arrays: quantiles, risk, probabilistic scores, significance, information coefficients."""
