"""Calibration of a model's paths: means shrunk towards the last price, spreads that fit what came, fitted on past windows only.

`fitting` has what makes one: it is imported by itself, since it needs the scores of `kronos.evaluation`.
"""

from kronos.calibration.adaptive import AdaptiveLevels
from kronos.calibration.calibration import Calibration, SeriesCalibration

__all__ = ["AdaptiveLevels", "Calibration", "SeriesCalibration"]
