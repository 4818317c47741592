"""Settings from text: ``--set name=value``, environment variables and YAML files, read as the type that a setting has."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

ENVIRONMENT = "KRONOS_FINETUNE_"
LARGEST_YAML = 1 << 20
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def unknown(name: str, known: Iterable[str], source: str) -> ValueError:
    """The error for a name that is no setting, with the nearest one that is."""
    near = difflib.get_close_matches(name.lower(), list(known), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "the settings are listed in docs/backtest.md and finetune/config.py"
    return ValueError(f"{source}: there is no setting {name!r}; {hint}")


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as ``hint`` says: bool, int, float, str, dict, tuples of str, a choice, or one of these or None.

    Raises:
        ValueError: it is none, naming the setting, what was found and what is expected.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null")):
            return None
        return coerce(name, value, next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ValueError(f"{name} must be one of {', '.join(map(str, arguments))}, found {value!r}")
    if origin is tuple:
        return _texts(name, value, len(arguments) if arguments[-1] is not Ellipsis else None)
    made = _READERS[dict if origin is dict or hint is dict else hint](value)
    if made is None:
        raise ValueError(f"{name} must be {_NAMES.get(hint, 'a mapping')}, found {value!r}")
    return made


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    return True if text in YES else False if text in NO else None


def _int(value: Any) -> int | None:
    number = _float(value)
    return int(number) if number is not None and number == int(number) else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _str(value: Any) -> str | None:
    if isinstance(value, (str, Path, dt.date)):
        return str(value)
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _dict(value: Any) -> dict[str, Any] | None:
    value = _json(value)
    return dict(value) if isinstance(value, Mapping) else None


_READERS: dict[Any, Any] = {bool: _bool, int: _int, float: _float, str: _str, dict: _dict}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _json(value: Any) -> Any:
    """A text of JSON as what it says, anything else as it is."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _texts(name: str, value: Any, count: int | None) -> tuple[str, ...]:
    value = _json(value)
    if count is None and isinstance(value, str) and value.strip().lower() in ("", "none"):
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    what = f"a list of {count or 'several'} texts"
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f"{name} must be {what}, found {value!r}")
    texts = tuple(_str(part) for part in parts)
    if any(text is None for text in texts) or (count is not None and len(texts) != count):
        raise ValueError(f"{name} must be {what}, found {value!r}")
    return tuple(text.strip() for text in texts if text is not None)


def from_pairs(pairs: Sequence[str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """``name=value`` each; values are JSON or plain text (lists also with commas between)."""
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals:
            raise ValueError(f"--set takes name=value, such as lookback_window=60, found {pair!r}")
        if name not in hints:
            raise unknown(name, hints, "--set")
        text = text.strip()
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        found[name] = coerce(f"--set {name}", _json(text) if quoted else text, hints[name])
    return found


def from_environment(environ: Mapping[str, str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """``KRONOS_FINETUNE_<NAME>``, in capitals."""
    found = {}
    by_capital = {name.upper(): name for name in hints}
    for variable, text in sorted(environ.items()):
        if variable.startswith(ENVIRONMENT):
            capital = variable[len(ENVIRONMENT) :]
            if capital not in by_capital:
                raise unknown(capital, hints, f"environment variable {variable}")
            name = by_capital[capital]
            found[name] = coerce(f"environment variable {variable}", text, hints[name])
    return found


def from_yaml(path: Path, hints: Mapping[str, Any]) -> dict[str, Any]:
    """A YAML file of ``name: value`` lines."""
    import yaml

    if not path.is_file():
        raise ValueError(f"{path}: no such file of settings")
    if path.stat().st_size > LARGEST_YAML:
        raise ValueError(f"{path} is larger than 1 MiB, which no file of settings is")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {str(error).splitlines()[0]}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold lines of name: value, found a {type(values).__name__}")
    found = {}
    for name, value in values.items():
        if name not in hints:
            raise unknown(str(name), hints, str(path))
        found[name] = coerce(f"{path}: {name}", value, hints[name])
    return found
