"""The names of the published Kronos code, for scripts that were written for it: ``model``, ``model.kronos``, ``model.module``.

``kronos.model`` and the folder ``model/`` of the project give the same names.
"""

from __future__ import annotations

from kronos import __version__
from kronos.compat.kronos import Kronos, KronosPredictor, KronosTokenizer

__all__ = ["Kronos", "KronosPredictor", "KronosTokenizer", "__version__", "get_model_class", "model_dict"]

model_dict: dict[str, type] = {
    "kronos_tokenizer": KronosTokenizer,
    "kronos": Kronos,
    "kronos_predictor": KronosPredictor,
}


def get_model_class(model_name: str) -> type:
    """Return the class of that name in `model_dict`.

    Raises:
        NotImplementedError: there is none.
    """
    if model_name not in model_dict:
        raise NotImplementedError(f"no model named {model_name!r}; there are {', '.join(model_dict)}")
    return model_dict[model_name]
