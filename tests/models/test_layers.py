import pytest

from lager_onnx.models.errors import ScaleError
from lager_onnx.models.layers import Row, parse_layers, rows_of, uniform_weights


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("all", tuple(range(7))),
        ("upper-half", (3, 4, 5, 6)),
        ("0,4-5,-1", (0, 4, 5, 6)),
        ("2,2", (2,)),
        ("-1", (6,)),
    ],
)
def test_parse(text: str, rows: tuple[int, ...]) -> None:
    assert parse_layers(text, 6) == rows


@pytest.mark.parametrize("text", ["7", "-8", "5-4", "top", "", "1,,2", "4-9"])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ScaleError, match=r"layers 0|no layer"):
        parse_layers(text, 6)


def test_uniform_weights_sum_to_one_over_the_chosen_rows() -> None:
    assert uniform_weights("raw", (1, 3), 3) == (0, 0.5, 0, 0, 0, 0, 0, 0.5)
    assert uniform_weights("norm", (1, 3), 3) == (0, 0, 0, 0, 0, 0.5, 0, 0.5)
    assert sum(uniform_weights("raw", tuple(range(31)), 30)) == pytest.approx(1)


def test_raw_rows_come_first() -> None:
    assert rows_of(1) == (Row("raw", 0), Row("raw", 1), Row("norm", 0), Row("norm", 1))
    assert str(rows_of(1)[2]) == "norm 0"
