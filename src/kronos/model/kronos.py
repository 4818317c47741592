"""The names of the published ``model/kronos.py`` (see `kronos.compat.kronos`)."""

from kronos.compat.kronos import *  # noqa: F403
from kronos.compat.kronos import __all__ as __all__
