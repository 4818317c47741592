"""Scores of a whole market: `score` reads thousands of series, forecasts each at every cut-off, and writes partitioned Parquet."""

from kronos.scoring.config import FeatureSettings, ScoreSettings, parse_cutoffs
from kronos.scoring.run import ScoreReport, read_scores, score

__all__ = ["FeatureSettings", "ScoreReport", "ScoreSettings", "parse_cutoffs", "read_scores", "score"]
