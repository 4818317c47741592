"""The names of the published ``model/kronos.py``, from the package (`kronos.compat.kronos`).

Where this folder itself is on ``sys.path``, ``import kronos`` finds this file: it then puts the package in its own place.
"""

if __package__:
    from ._find_kronos import load
else:
    from _find_kronos import load  # type: ignore[no-redef]

load()

from kronos.compat.kronos import *  # noqa: E402, F403
from kronos.compat.kronos import __all__ as __all__  # noqa: E402

if __name__ == "kronos":
    import sys

    for _name in ("auto_regressive_inference", "calc_time_stamps", "sample_from_logits", "top_k_top_p_filtering"):
        setattr(sys.modules["kronos"], _name, globals()[_name])
