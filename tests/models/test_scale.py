import pytest

from lager_onnx.models.errors import ScaleError
from lager_onnx.models.scale import Scale


@pytest.mark.parametrize(
    ("text", "labels", "values"),
    [
        ("1-5", ("1", "2", "3", "4", "5"), (1, 2, 3, 4, 5)),
        ("0-10", tuple(str(score) for score in range(11)), tuple(range(11))),
        ("-1-1", ("-1", "0", "1"), (-1, 0, 1)),
        ("1,3,5", ("1", "3", "5"), (1, 3, 5)),
        ("bad=0, ok=1.5 ,good=2", ("bad", "ok", "good"), (0, 1.5, 2)),
        ("no=-1,yes=1", ("no", "yes"), (-1, 1)),
    ],
)
def test_parse(text: str, labels: tuple[str, ...], values: tuple[float, ...]) -> None:
    assert Scale.parse(text) == Scale(labels, tuple(map(float, values)))


@pytest.mark.parametrize(
    "text", ["5-1", "3-3", "", "1", "good,bad", "a=1,a=2", "a=1,b=1", "a=nan,b=1", "=1,b=2", "1-999"]
)
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(ScaleError):
        Scale.parse(text)


def test_ends_follow_the_values_not_the_order() -> None:
    scale = Scale.parse("good=2,bad=0,ok=1")
    assert (scale.lowest, scale.highest, scale.width) == ("bad", "good", 2)
    assert str(scale) == "good=2, bad=0, ok=1"
    assert str(Scale.parse("1-3")) == "1, 2, 3"
