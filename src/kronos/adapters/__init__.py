"""Kronos as an estimator of other frameworks: `kronos.adapters.sktime`, `kronos.adapters.gluonts`. Each needs its framework."""
