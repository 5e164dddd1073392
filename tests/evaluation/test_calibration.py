"""Tests of what tenths of predictions, and steps of probabilities, come to."""

import numpy as np
import pytest

from spotify_ml.evaluation.calibration import calibration_table, class_calibration_table, equal_parts


@pytest.mark.parametrize(("n_rows", "sizes"), [(400, [40] * 10), (199, [22] * 9), (60, [20] * 3), (39, [39]), (1, [1])])
def test_parts_are_of_equal_size_in_the_order_of_the_values(n_rows: int, sizes: list[int]):
    values = np.random.default_rng(0).permutation(n_rows).astype(float)
    codes = equal_parts(values)
    assert np.abs(np.bincount(codes) - sizes).max() <= 1
    assert (np.diff(codes[np.argsort(values)]) >= 0).all()


@pytest.mark.parametrize("values", [[7.0] * 500, [0.0] * 380 + [1.0, 2.0] * 10])
def test_equal_values_are_in_one_part_and_no_part_is_empty(values: list[float]):
    codes = equal_parts(np.array(values))
    assert np.bincount(codes).min() > 0
    assert len(set(codes)) <= len(set(values))


def test_a_table_says_what_parts_come_to():
    predicted = np.arange(200.0) / 2
    actual = np.clip(predicted + np.where(predicted < 10, 5, -1), 0, 100)
    table = calibration_table(actual, predicted, np.arange(200))
    assert table["tracks"].tolist() == [20] * 10
    assert (table["predicted"] - table["actual"]).tolist() == pytest.approx([-5] + [1] * 9)
    assert table["margin"].tolist() == pytest.approx([1.96 * np.std(np.arange(20) / 2, ddof=1) / np.sqrt(20)] * 10)

    for name in ("low", "middle", "high"):
        assert table[name].tolist() == pytest.approx([-5] + [1] * 9)


def test_probabilities_are_compared_with_how_often_they_come_true():
    codes = np.array([0, 0, 1, 1])
    first = np.array([0.95, 1.0, 0.9, 0.2])
    table = class_calibration_table(codes, np.column_stack([first, 1 - first]), ("a", "b"))
    own = table[table["class"] == "a"]
    assert own["tracks"].tolist() == [1, 3]
    assert own["predicted"].tolist() == pytest.approx([0.2, 0.95])
    assert own["actual"].tolist() == pytest.approx([0, 2 / 3])
    assert table.groupby("class")["tracks"].sum().tolist() == [4, 4]
