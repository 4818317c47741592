"""Errors and warnings of Kronos, and the arguments that they name.

    ValueError
      KronosError        what was given cannot be used: says what was found, where, and what to do
        KlineError         a table of K-lines (`kronos.klines`)
        CheckpointError    a checkpoint (`kronos.nn`)
        ConfigError        the settings of a network (`kronos.nn`)
    UserWarning
      KronosWarning      a result that may be poor, and why
        CalendarWarning    times past what a calendar knows (`kronos.calendars.beyond`)
        KlineWarning       bars or times that are doubtful (`kronos.generation.prepared`)
        PairWarning        a model with a tokenizer that it was not made for (`kronos.hub.pairing`)

A message names arguments as `Argument`, not as text, so that each front end spells them in its own way: ``clean="drop"`` in
Python (what ``str(error)`` gives), ``--clean drop`` on the command line (`kronos.cli.errors`), ``"clean": "drop"`` in a
request (`kronos.serving.problems`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NAME_ALONE = object()
"""Value of an `Argument` of which only the name is spelled."""


class Argument(NamedTuple):
    """An argument that a message names, with the value that it advises or found."""

    name: str
    value: Any = NAME_ALONE

    def __str__(self) -> str:
        """Spell it as Python code."""
        return f"{self.name}={'' if self.value is NAME_ALONE else _literal(self.value)}"


Spelling = Callable[[Argument], str]
"""Function that spells an argument for a front end."""


class Message(str):
    """A text with arguments in it; as a string, it spells them as Python code.

    Args:
        parts: strings, arguments and messages, in order.
    """

    parts: tuple[str | Argument, ...]

    def __new__(cls, *parts: str | Argument) -> Message:
        flat: list[str | Argument] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Message) else (part,))
        made = super().__new__(cls, "".join(str(part) for part in flat))
        made.parts = tuple(flat)
        return made

    def __add__(self, other: str) -> Message:
        return Message(self, other)

    def spelled(self, spelling: Spelling) -> str:
        """Return the text with its arguments as a front end spells them."""
        return "".join(spelling(part) if isinstance(part, Argument) else part for part in self.parts)

    def first_line(self) -> Message:
        """Return what stands before the first line break."""
        kept: list[str | Argument] = []
        for part in self.parts:
            head, broken, _ = ("", "", "") if isinstance(part, Argument) else part.partition("\n")
            kept.append(part if isinstance(part, Argument) else head)
            if broken:
                break
        return Message(*kept)


def _literal(value: Any) -> str:
    """Python code of a value, strings in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join("..." if one is ... else _literal(one) for one in value) + "]"
    return repr(value)


class KronosError(ValueError):
    """Error for input that cannot be used.

    Args:
        parts: of the message: what was found, where, and what to do.
    """

    def __init__(self, *parts: str | Argument) -> None:
        super().__init__(Message(*parts))

    @property
    def message(self) -> Message:
        """The message with its arguments."""
        return message_of(self)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that the message has."""
        return tuple(part.name for part in self.message.parts if isinstance(part, Argument))


class KronosWarning(UserWarning):
    """Warning that a result may be poor, with the reason."""


def spell(text: str, spelling: Spelling) -> str:
    """Return a text as a front end says it: arguments of a `Message` are spelled, other texts are as they are."""
    return text.spelled(spelling) if isinstance(text, Message) else text


def message_of(error: BaseException) -> Message:
    """Return the message of any exception or warning, with its arguments where it has them."""
    first = error.args[0] if len(error.args) == 1 else None
    return first if isinstance(first, Message) else Message(str(error).strip() or type(error).__name__)
