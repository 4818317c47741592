"""Tell the encoding of a text of K-lines by what gives known column names and plausible text."""

from __future__ import annotations

import codecs
import logging

from kronos.errors import Argument
from kronos.klines.columns import KlineError, find_columns

CANDIDATES = ("gb18030", "big5hkscs", "cp932", "cp949", "cp1252", "cp1251", "cp1250", "euc_jp", "mac_roman")
"""Encodings other than UTF-8 and UTF-16 that are tried, in the order that breaks ties."""
HEADER_LINES = 30
_SEPARATORS = (",", ";", "\t", "|")


def encodings_of(head: bytes) -> list[str]:
    """Encodings to try for a text that begins with these bytes, best first.

    Raises:
        KlineError: the bytes are no text.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]  # MetaTrader exports
    unmarked = _utf16_without_mark(head)
    if unmarked is not None:
        return [unmarked]
    if any(byte < 32 and byte not in b"\t\n\r\f\x1a" for byte in head):
        raise KlineError("binary content, not a table: expected text, Parquet or Feather")
    if decodes(head, "utf-8-sig"):
        return ["utf-8-sig"] if not head.isascii() else ["utf-8-sig", *CANDIDATES]
    found = ranked(head)
    if not found:
        raise KlineError("text of no known encoding; name it with ", Argument("encoding"), ", or save it as UTF-8")
    return found


def ranked(sample: bytes) -> list[str]:
    """The candidates that decode a sample which is not UTF-8, best first.

    Two that decode it alike in everything that is read (the names of the columns) are told apart by charset-normalizer.
    """
    possible = [name for name in CANDIDATES if decodes(sample, name)]
    if len(possible) < 2:
        return possible
    scores = {name: _known_names(decode(sample, name)) for name in possible}
    guessed = _guesses(sample, possible)
    return sorted(possible, key=lambda name: (-scores[name], guessed.get(name, len(possible)), possible.index(name)))


def _known_names(text: str) -> int:
    """The most roles that a line among the first ones names."""
    best = 0
    for line in text.splitlines()[:HEADER_LINES]:
        separator = max(_SEPARATORS, key=line.count)
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        try:
            best = max(best, len(find_columns(cells)))
        except KlineError:
            best = max(best, 1)  # two columns of one role: known names, too
    return best


def _guesses(sample: bytes, possible: list[str]) -> dict[str, int]:
    """The place of each encoding in the order of charset-normalizer."""
    from charset_normalizer import from_bytes

    logging.getLogger("charset_normalizer").setLevel(logging.ERROR)
    lines = [line for line in sample.splitlines() if not line.isascii()]
    found = from_bytes(b"\n".join(lines)[:8192], cp_isolation=possible)
    order: dict[str, int] = {}
    for place, match in enumerate(found):
        for name in (match.encoding, *match.could_be_from_charset):
            known = codecs.lookup(name).name
            for one in possible:
                if codecs.lookup(one).name == known:
                    order.setdefault(one, place)
    return order


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 by its zeros: ASCII has one in every second byte."""
    sample = head[: len(head) // 2 * 2]
    if len(sample) < 4 or b"\0" not in sample:
        return None
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros.count(0) > 0.4 * len(zeros) and decodes(sample, name) and "\0" not in decode(sample, name):
            return name
    return None


def decodes(sample: bytes, encoding: str) -> bool:
    try:
        decode(sample, encoding)
    except UnicodeDecodeError:
        return False
    return True


def decode(sample: bytes, encoding: str) -> str:
    """Text of the beginning of a file, which may end within a character."""
    return codecs.getincrementaldecoder(encoding)().decode(sample, final=False)
