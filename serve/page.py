"""Fill the page at / with what its judge is."""

import json
from pathlib import Path
from typing import Final

from lager_onnx.serve.service import Service

_PAGE: Final = Path(__file__).with_name("page.html")
_PLACE: Final = "{/* the judge */}"


def page_of(service: Service) -> str:
    """Return the page with the judge's names, its scale and the weights of its layers."""
    spec = service.spec
    about = {
        "name": service.settings.name,
        "checkpoint": f"{spec.source.checkpoint}, {spec.describe_layers()}, {spec.precision}",
        "labels": spec.scale.labels,
        "values": spec.scale.values,
        "weights": spec.layer_weights,  # (2 (L + 1),): raw, then norm
        "origin": spec.weights_origin,
        "calibration": spec.calibration.origin if spec.calibration else "",
    }
    # In a script element "</" would end it, and "<!--" begin a comment.
    return _PAGE.read_text(encoding="utf-8").replace(_PLACE, json.dumps(about).replace("<", "\\u003c"))
