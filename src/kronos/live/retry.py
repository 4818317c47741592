"""Retry requests with exponential backoff."""

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
    """Policy of retries: ``tries`` requests at most, with waits of ``first`` seconds, doubled each time up to ``most``.

    A Retry-After of the server is obeyed up to ten times ``most``.
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
        """Return the answer of ``ask``, repeated while it raises one of the ``passing`` (transient) errors.

        Args:
            asked_to_wait: seconds that an error's Retry-After asks for, or None.

        Raises:
            ConnectionError: the last try failed too; the message gives the number of tries.
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
    """Return the seconds of a Retry-After header, where it is a number."""
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
