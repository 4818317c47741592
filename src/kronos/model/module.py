"""The names of the published ``model/module.py`` (see `kronos.compat.module`)."""

from kronos.compat.module import *  # noqa: F403
from kronos.compat.module import __all__ as __all__
