"""The layers of the published ``model/module.py``, from the package (`kronos.compat.module`)."""

if __package__:
    from ._find_kronos import load
else:  # this folder itself is on sys.path
    from _find_kronos import load  # type: ignore[no-redef]

load()

from kronos.compat.module import *  # noqa: E402, F403
from kronos.compat.module import __all__ as __all__  # noqa: E402
