"""``from kronos.model import Kronos``: the names of the published package ``model`` (see `kronos.compat`)."""

from kronos.compat import Kronos, KronosPredictor, KronosTokenizer, __version__, get_model_class, model_dict

__all__ = ["Kronos", "KronosPredictor", "KronosTokenizer", "__version__", "get_model_class", "model_dict"]
