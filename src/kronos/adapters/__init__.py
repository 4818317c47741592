"""Adapters to other frameworks: `kronos.adapters.sktime`, `kronos.adapters.gluonts`. Each needs its framework."""
