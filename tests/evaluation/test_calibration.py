"""Tests of what tenths of predictions, and steps of probabilities, come to."""

import numpy as np
import pytest

from spotify_ml.evaluation.calibration import calibration_table, class_calibration_table, tenths


def test_tenths_are_of_equal_size_in_the_order_of_the_values():
    values = np.random.default_rng(0).permutation(100).astype(float)
    codes = tenths(values)
    assert np.bincount(codes).tolist() == [10] * 10
    assert (codes == values // 10).all()


@pytest.mark.parametrize("values", [[7.0] * 5, [0.0] * 8 + [1.0, 2.0], [3.0]])
def test_equal_values_are_in_one_tenth_and_no_tenth_is_empty(values: list[float]):
    codes = tenths(np.array(values))
    assert np.bincount(codes).min() > 0
    assert len(set(codes)) <= len(set(values))


def test_a_table_says_what_tenths_come_to():
    predicted = np.arange(100.0)
    actual = np.clip(predicted + np.where(predicted < 10, 5, -1), 0, 100)
    table = calibration_table(actual, predicted, np.arange(100))
    assert table["tracks"].tolist() == [10] * 10
    assert (table["predicted"] - table["actual"]).tolist() == pytest.approx([-5] + [1] * 9)
    assert table["margin"].tolist() == pytest.approx([1.96 * np.std(np.arange(10), ddof=1) / np.sqrt(10)] * 10)

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
