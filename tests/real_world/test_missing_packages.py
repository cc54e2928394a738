"""An error names the missing package and its extra: an export from ONNX needs no PyTorch, and never asks for it."""

import subprocess
import sys

import pytest

HIDE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError({error})

sys.meta_path.insert(0, Missing())
"""
NAMED, BARE = "f'No module named {name!r}', name=name", "name"
PYTHON = "from lager_onnx.export import export_judge\nexport_judge({source!r}, {judge!r})"
COMMAND = "from lager_onnx.cli import main\nmain(['export', {source!r}, {judge!r}])"


def said(code: str, hidden: tuple[str, ...], error: str = NAMED) -> str:
    program = HIDE.format(hidden=hidden, error=error) + code
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    return found.stderr.strip().splitlines()[-1] if found.stderr else found.stdout


@pytest.mark.parametrize(
    ("code", "source", "missing", "extra"),
    [
        (PYTHON, ".", "torch", "cpu,export"),
        (COMMAND, ".", "torch", "cpu,export"),
        (PYTHON, "model.gguf", "transformers", "cpu,export"),
        (COMMAND, "model.onnx", "onnx_ir", "cpu,onnx"),
        (COMMAND, "model.onnx", "jinja2", "cpu,onnx"),
        (PYTHON, "model.onnx", "jinja2", "cpu,onnx"),
    ],
)
@pytest.mark.parametrize("error", [NAMED, BARE])
def test_the_extra_is_the_one_that_is_enough(code: str, source: str, missing: str, extra: str, error: str) -> None:
    text = said(code.format(source=source, judge="/nowhere/judge"), (missing,), error)
    assert f"needs the package {missing}, which is not installed: pip install 'lager-onnx[{extra}]'" in text
    assert "No module named" not in text


def test_the_exporter_imports_without_pytorch() -> None:
    code = (
        "from lager_onnx.export import export_judge\nimport sys\nprint('torch' in sys.modules, export_judge.__name__)"
    )
    assert said(code, ("torch", "transformers", "optimum", "gguf")) == "False export_judge\n"


def test_where_either_extra_would_do_both_are_said() -> None:
    text = said("from lager_onnx.export import export_judge", ("onnx_ir",))
    assert "'lager-onnx[cpu,export]', or 'lager-onnx[cpu,onnx]' to export only decoders that are ONNX already" in text
