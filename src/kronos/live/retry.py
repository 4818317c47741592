"""Asking again, later and later."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is repeated, and how long is waited: ``first`` seconds, then twice as long each time, ``most`` at most.

    What the other side asks for (Retry-After) is waited for in any case, up to ten times ``most``.
    """

    tries: int = 7
    first: float = 1.0
    most: float = 60.0

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 <= self.first <= self.most:
            raise ValueError(f"{self}: expected tries >= 1 and 0 <= first <= most")

    def run(
        self,
        ask: Callable[[], Answer],
        passing: tuple[type[BaseException], ...],
        asked_to_wait: Callable[[BaseException], float | None] = lambda error: None,
    ) -> Answer:
        """The answer of ``ask``, repeated while it raises one of the ``passing`` errors.

        Raises:
            ConnectionError: it still did at the last try; the message says how often it was tried.
        """
        for number in range(self.tries):
            try:
                return ask()
            except passing as error:
                reason = (str(error).strip().splitlines() or [""])[0][:200]
                said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
                if number + 1 == self.tries:
                    raise ConnectionError(f"given up after {self.tries} tries: {said}") from error
                wait = min(self.most, self.first * 2**number)
                wait *= random.uniform(0.75, 1.25)  # so that many clients do not come back at once
                wait = max(wait, min(asked_to_wait(error) or 0.0, 10 * self.most))
                log.warning("%s; asking again in %.1f s", said, wait)
                time.sleep(wait)
        raise AssertionError("unreachable")


def seconds_of(header: str | None) -> float | None:
    """What a Retry-After header asks for, where it is a number."""
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
