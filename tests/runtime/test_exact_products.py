"""The proof that products in 8 bits are exact; on other processors `make test-cpus` runs it too."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from lager_onnx import Judge
from lager_onnx.models.errors import DeviceError
from lager_onnx.runtime import exact_products, session
from lager_onnx.runtime.exact_products import make_products_exact, wrong_sum
from support import saturating_product


def test_the_stored_product_is_the_one_that_is_made() -> None:
    assert onnx.load(saturating_product.FILE) == onnx.load_from_string(saturating_product.make())


def test_sums_of_the_stored_product_do_not_fit_16_bits() -> None:
    """Of two neighbours, as x86 adds them: or else the proof would prove nothing."""
    weights = onnx.numpy_helper.to_array(onnx.load(saturating_product.FILE).graph.initializer[0]).astype(int)
    pairs = 255 * (weights[0::2] + weights[1::2])
    assert pairs.max() > np.iinfo(np.int16).max
    assert pairs.min() < np.iinfo(np.int16).min


@pytest.mark.parametrize("pack", [False, True])
def test_products_are_exact_in_the_options_of_a_judge(pack: bool) -> None:
    options = session.session_options(1, weights="packed" if pack else "mapped")
    make_products_exact(options)
    assert wrong_sum(options) is None


def test_a_sum_that_is_cut_off_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(saturating_product.FILE)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[-1] //= 2
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    (tmp_path / "product.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setattr(exact_products, "_MODEL", tmp_path / "product.onnx")
    with pytest.raises(DeviceError, match="not exact on this processor"):
        make_products_exact(onnxruntime.SessionOptions())


@pytest.mark.parametrize(("precision", "proofs"), [("int8", 2), ("fp32", 0)])
def test_every_session_of_an_int8_judge_is_proved(
    precision: str, proofs: int, tiny_judges: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    proved: list[onnxruntime.SessionOptions] = []
    monkeypatch.setattr(session, "make_products_exact", proved.append)
    judge = Judge.load(tiny_judges[precision], device="cpu", threads=2)
    judge.score([{"instruction": "Name a prime.", "response": "good " * number} for number in range(1, 9)])
    assert len(proved) == proofs


def test_the_option_that_makes_products_exact_is_set_where_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with AVX2 alone, which `make test-cpus` emulates."""

    def saturating(options: onnxruntime.SessionOptions) -> tuple[float, float] | None:
        try:
            options.get_session_config_entry("session.x64quantprecision")
        except RuntimeError:  # not set
            return 1000.0, 600.0
        return None

    options = onnxruntime.SessionOptions()
    monkeypatch.setattr(exact_products, "wrong_sum", saturating)
    make_products_exact(options)
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
