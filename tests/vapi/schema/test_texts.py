"""Quantities, times and YAML scalars as Kubernetes spells them; values from a real server or from Go's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.schema import gotime, quantity, yamltext
from vapi.schema.godecode import GoDecodeError, canonical_base64
from vapi.schema.jsontext import NumberText


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5", "1500m"),
        ("1e3", "1e3"),
        ("0.1", "100m"),
        ("1500k", "1500k"),
        ("+1", "+1"),
        ("0Mi", "0"),
        ("1.5Gi", "1536Mi"),
        ("5000000", "5M"),
        ("0.5", "500m"),
        ("0.5Ki", "512"),
        ("2048Ki", "2Mi"),
        ("-1500m", "-1500m"),
        ("0.0000000001", "1n"),
        ("1.500", "1.500"),
        ("100000", "100k"),
        ("1Ei", "1Ei"),
    ],
)
def test_a_quantity_is_spelled_as_kubernetes_spells_it(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "nanos"), [("1", 10**9), ("1m", 10**6), ("1Ki", 1024 * 10**9), ("-2", -2 * 10**9), ("1n", 1), ("0", 0)]
)
def test_a_quantity_has_a_value(text: str, nanos: int) -> None:
    assert quantity.parse(text).nanos == nanos


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", quantity.WRONG_FORMAT),
        ("abc", quantity.WRONG_FORMAT),
        ("1x", quantity.WRONG_FORMAT),
        ("1 ", quantity.WRONG_FORMAT),
        ("1i", quantity.WRONG_SUFFIX),
        ("1mm", quantity.WRONG_SUFFIX),
        ("1e999999999", quantity.WRONG_SUFFIX),
        ("9" * 5000, quantity.WRONG_NUMBER),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_quantity_is_refused(text: str, why: str) -> None:
    with pytest.raises(quantity.QuantityError) as refused:
        quantity.parse(text)
    assert str(refused.value) == why


@given(number=st.integers(-(10**15), 10**15), suffix=st.sampled_from(["", "m", "u", "k", "M", "Ki", "Mi"]))
def test_spelling_keeps_the_value(number: int, suffix: str) -> None:
    found = quantity.parse(f"{number}{suffix}")
    assert quantity.parse(found.text).nanos == found.nanos


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59-00:30", "2024-03-01T00:29:59Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_spelled_in_utc_seconds(text: str, canonical: str) -> None:
    assert gotime.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("2026-02-30T00:00:00Z", 'parsing time "2026-02-30T00:00:00Z": day out of range'),
        ("2026-13-01T00:00:00Z", 'parsing time "2026-13-01T00:00:00Z": month out of range'),
        ("2026-01-01T00:00:00Zx", 'parsing time "2026-01-01T00:00:00Zx": extra text: "x"'),
        ("9999-12-31T23:59:59-23:59", 'parsing time "9999-12-31T23:59:59-23:59": day out of range'),
    ],
)
def test_what_is_no_time_is_refused(text: str, why: str) -> None:
    with pytest.raises(gotime.TimeError) as refused:
        gotime.canonical(text)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("off", False),
        ("~", None),
        ("017", 15),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-", "-"),
        ("018", 18.0),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_plain_scalar_is_what_yaml_1_1_says(text: str, value: object) -> None:
    assert yamltext.resolve(text) == value


def test_a_large_integer_keeps_its_digits_up_to_64_bits() -> None:
    value, _ = yamltext.parse(b"a: 18446744073709551615\nb: 99999999999999999999\n")
    assert value == [
        ("a", NumberText("18446744073709551615")),
        ("b", NumberText("100000000000000000000")),
    ]  # Go: float64


def test_aliases_are_bounded() -> None:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)]
    with pytest.raises(yamltext.YamlError, match="excessive aliasing"):
        yamltext.parse(b"\n".join(lines))


@pytest.mark.parametrize(
    ("text", "byte"), [("!!", 0), ("YWJ", 0), ("YWJj*", 4), ("=YWJ", 0), ("YQ=", 3), ("YWJjYQ=a", 6), ("YWJjY", 4)]
)
def test_broken_base64_names_the_byte(text: str, byte: int) -> None:
    with pytest.raises(GoDecodeError, match=f"illegal base64 data at input byte {byte}$"):
        canonical_base64(text)
