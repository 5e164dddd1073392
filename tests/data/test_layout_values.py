"""Tests of the values of layouts: units, lists, letters and words as raw columns have them."""

import pyarrow as pa
import pytest

from spotify_ml.config.layouts import ColumnConfig
from spotify_ml.data.layout_values import WrongValueError, converted

READ = {
    "percent": [("57", 0.57), ("0", 0.0), ("100", 1.0), ("", None)],
    "seconds": [("201.5", 201_500.0), ("3", 3000.0)],
    "minutes": [("3.5", 210_000.0)],
    "key_letters": [
        ("C", 0.0),
        ("C#", 1.0),
        ("Db", 1.0),
        ("B♭", 10.0),
        ("F♯", 6.0),
        (" B ", 11.0),
        ("", None),
        (None, None),
    ],
    "mode_words": [("Major", 1.0), ("minor", 0.0), (None, None)],
    "beats": [
        ("4/4", 4.0),
        ("0/4", 0.0),
        ("4-Apr", 4.0),
        ("4-Mar", 3.0),
        ("3-Apr", 3.0),
        ("04-May", 5.0),
        ("1-Apr", 1.0),
    ],
    "spotify_uri": [
        ("spotify:track:4iV5W9uYEdYUVa79Axb7Rh", "4iV5W9uYEdYUVa79Axb7Rh"),
        ("https://open.spotify.com/track/4iV5W9uYEdYUVa79Axb7Rh?si=1", "4iV5W9uYEdYUVa79Axb7Rh"),
        ("4iV5W9uYEdYUVa79Axb7Rh", "4iV5W9uYEdYUVa79Axb7Rh"),
        ("spotify:local:A::B:1", "spotify:local:A::B:1"),
        (None, None),
    ],
    "python_list": [
        ("['A']", "A"),
        ("['A', 'B']", "A;B"),
        ("""["B's", 'C "D"']""", 'B\'s;C "D"'),
        (r"['A\\B', 'É\xe9']", "A\\B;Éé"),
        ("['A;B', 'C, D']", "AB;C, D"),
        ("[]", None),
        (None, None),
    ],
}


def rule(values: str | None, **more: object) -> ColumnConfig:
    return ColumnConfig.model_validate({"from": "x", "values": values, **more})


@pytest.mark.parametrize("values", READ)
@pytest.mark.parametrize("n_chunks", [1, 3])
def test_values_are_read(values: str, n_chunks: int):
    given, wanted = zip(*READ[values], strict=True)
    column = pa.chunked_array([pa.array(given, pa.string())] * n_chunks)
    assert converted(column, rule(values)).to_pylist() == list(wanted) * n_chunks


@pytest.mark.parametrize(
    ("separator", "escape", "given", "wanted"),
    [
        (";", None, "A;B", "A;B"),
        (",", None, "pop, rock,folk", "pop;rock;folk"),
        (", ", "\\", r"Tyler\, The Creator, B, C,D", "Tyler, The Creator;B;C,D"),
        (", ", "\\", "A;1, B", "A1;B"),
        ("|", None, "A|B |C", "A;B;C"),
    ],
)
def test_lists_are_read_by_their_separator(separator: str, escape: str | None, given: str, wanted: str):
    column = pa.chunked_array([pa.array([given, None, "A"])])
    assert converted(column, rule("list", separator=separator, escape=escape)).to_pylist() == [wanted, None, "A"]


@pytest.mark.parametrize("values", ["percent", "key_letters", "beats"])
def test_what_is_not_read_is_no_number_either(values: str):
    good = READ[values][0][0]
    found = converted(pa.chunked_array([pa.array([good, "7x", None])]), rule(values)).to_pylist()
    assert found == [str(READ[values][0][1]).removesuffix(".0"), "'7x'", None]
    assert converted(pa.chunked_array([pa.array(["7"])]), rule("key_letters")).to_pylist() == ["'7'"]


def test_words_that_mean_missing_are_missing():
    column = pa.chunked_array([pa.array(["undefined", " NA", "4", None])])
    missing = ["undefined", "NA"]
    assert converted(column, rule(None, missing=missing)).to_pylist() == [None, None, "4", None]
    assert converted(column, rule("seconds", missing=missing)).to_pylist() == [None, None, 4000.0, None]


def test_numbers_of_parquet_are_scaled():
    assert converted(pa.chunked_array([pa.array([57, None])]), rule("percent")).to_pylist() == [0.57, None]


@pytest.mark.parametrize("text", ["A", "['A'", "{'A': 1}", "[1]", "[['A']]", "__import__('os')"])
def test_what_is_no_list_of_names_is_refused(text: str):
    with pytest.raises(WrongValueError) as caught:
        converted(pa.chunked_array([pa.array(["['A']", None, text])]), rule("python_list"))
    assert (caught.value.row, caught.value.text) == (2, text)
