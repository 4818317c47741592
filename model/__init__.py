"""The import that existing scripts have: ``from model import Kronos, KronosTokenizer, KronosPredictor``."""

from ._find_kronos import load

load()

from kronos.compat import (  # noqa: E402
    Kronos,
    KronosPredictor,
    KronosTokenizer,
    __version__,
    get_model_class,
    model_dict,
)

__all__ = ["Kronos", "KronosPredictor", "KronosTokenizer", "__version__", "get_model_class", "model_dict"]
