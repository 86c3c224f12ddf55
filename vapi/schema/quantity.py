"""Quantities: `500m`, `1Gi`, `1e3` as numbers, and the spelling that Kubernetes gives back.

Kubernetes parses a quantity and prints it anew: `1000m` → `1`, `1024Mi` →
`1Gi`, `0.5` → `500m`, while a text that is canonical already (and a few that only
look so, such as `+1`) stays. Source: apimachinery resource.ParseQuantity, CanonicalizeBytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NANO = 10**9
WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"
WRONG_NUMBER = "unable to parse numeric part of quantity"

_TEXT = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()} | {0: ""}
_MAX_INT64 = 2**63 - 1
_MAX_EXPONENT = 1000  # a bound of ours: the number is held in full
_MAX_DIGITS = 4000  # a bound of ours, below that of int()
_FAST_DIGITS = 18


class QuantityError(ValueError):
    """Worded as Go words it."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """`nanos`: the value times 10⁹, rounded up to it as Kubernetes does. `text`: as Kubernetes prints it."""

    nanos: int
    text: str


def parse(text: str) -> Quantity:
    """Raises QuantityError. Surrounding blanks are the caller's to strip (JSON decoding does)."""
    if not text:
        raise QuantityError(WRONG_FORMAT)
    found = _TEXT.fullmatch(text)
    if found is None:
        raise QuantityError(WRONG_FORMAT)
    sign, whole, fraction, suffix = found[1], found[2].lstrip("0") or "0", found[3] or "", found[4]
    binary, exponent, scientific = _interpret(suffix)
    digits = whole + fraction
    no_digits = not found[2] and not fraction  # zero, where Kubernetes reads it as an int64
    if len(digits) > _MAX_DIGITS or (no_digits and (exponent < -9 or (binary and exponent >= 50))):
        raise QuantityError(WRONG_NUMBER)
    unscaled = int(digits)
    if binary:
        scaled = (unscaled << exponent) * NANO
        shift = -len(fraction)
    else:
        scaled = unscaled * NANO
        shift = exponent - len(fraction)
    nanos = scaled * 10**shift if shift >= 0 else -(-scaled // 10**-shift)
    if binary:
        nanos = min(nanos, _MAX_INT64 * NANO)
    if sign == "-":
        nanos = -nanos
    if _kept(whole, fraction, exponent, binary):
        return Quantity(nanos, text)
    return Quantity(nanos, _spelled(nanos, binary=binary, scientific=scientific))


def canonical(text: str) -> str:
    return parse(text).text


def _interpret(suffix: str) -> tuple[bool, int, bool]:
    """(binary, exponent, scientific)."""
    if suffix in _DECIMAL:
        return False, _DECIMAL[suffix], False
    if suffix in _BINARY:
        return True, _BINARY[suffix], False
    if len(suffix) > 1 and suffix[0] in "eE" and re.fullmatch(r"[-+]?\d+", suffix[1:]):
        if len(suffix) > 6 or abs(int(suffix[1:])) > _MAX_EXPONENT:
            raise QuantityError(WRONG_SUFFIX)
        return False, int(suffix[1:]), True
    raise QuantityError(WRONG_SUFFIX)


def _kept(whole: str, fraction: str, exponent: int, binary: bool) -> bool:
    """Does Kubernetes take the text as it is for canonical? Only for numbers that fit an int64 for sure."""
    digits = whole + fraction
    if binary:
        small = 15 - len(whole) - int(exponent * 3 / 10) - 1 >= 0
        return small and not fraction and int(digits) & 0x07 != 0
    scale = exponent - len(fraction)
    fits = len(digits) <= _FAST_DIGITS and scale >= -9
    return fits and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _spelled(nanos: int, *, binary: bool, scientific: bool) -> str:
    if nanos == 0:
        return "0"
    if binary and nanos % NANO == 0 and abs(nanos) >= 1024 * NANO:
        number, exponent = nanos // NANO, 0
        while number % 1024 == 0 and exponent < 60:
            number, exponent = number // 1024, exponent + 10
        return f"{number}{_BINARY_SUFFIX[exponent]}"
    number, exponent = nanos, -9
    while number % 10 == 0:
        number, exponent = number // 10, exponent + 1
    while exponent % 3:
        number, exponent = number * 10, exponent - 1
    if scientific or exponent not in _DECIMAL_SUFFIX:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"
