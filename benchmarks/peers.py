"""Engines that a user would take instead: llama.cpp, OpenVINO, onnxruntime-genai, optimum's graph.

What they need is made once, by each one's own tools.

None of them shows hidden states, so they give the expectation score of the last layer (G-Eval's) and not LAGER's.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lager_onnx.models.spec import JudgeSpec

Prompts = list[list[int]]
Logits = npt.NDArray[np.float32]
LastLogits = Callable[[Prompts], Logits]
Opener = Callable[[JudgeSpec, str, Path, int], LastLogits]

LLAMA_CPP = {"F32": 0, "BF16": 32, "Q8_0": 7, "Q4_0": 2}  # llama.cpp's numbers of file types
_CONTEXT = 8192


def llama_cpp(precision: str) -> Opener:
    """llama.cpp with flash attention, one prompt after another, every core on each."""

    def opened(spec: JudgeSpec, checkpoint: str, folder: Path, threads: int) -> LastLogits:
        import llama_cpp as library  # noqa: PLC0415

        folder.mkdir(exist_ok=True)
        file = folder / f"{precision}.gguf"
        if not file.exists():
            wanted = library.llama_model_quantize_default_params()
            wanted.ftype, wanted.allow_requantize, wanted.nthread = LLAMA_CPP[precision], True, threads
            library.llama_model_quantize(checkpoint.encode(), str(file).encode(), wanted)
        model = library.Llama(
            str(file), n_ctx=_CONTEXT, n_batch=_CONTEXT, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
            flash_attn=True, verbose=False,
        )  # fmt: skip
        wanted_ids = list(spec.score_token_ids)

        def logits(prompt: list[int]) -> Logits:
            model.reset()
            model.eval(prompt)
            every = np.ctypeslib.as_array(model._ctx.get_logits(), shape=(model.n_vocab(),))
            return every[wanted_ids].copy()

        return one_by_one(logits)

    return opened


def openvino(precision: str) -> Opener:
    """OpenVINO: one prompt a stream (throughput mode) or, for a lone prompt, all cores on it (latency mode)."""

    def opened(spec: JudgeSpec, checkpoint: str, folder: Path, threads: int) -> LastLogits:
        import openvino as library  # noqa: PLC0415

        file = folder / f"openvino-{'int8' if precision == 'int8' else 'f32'}.xml"
        if not file.exists():
            _make_openvino(spec, checkpoint, file, eight_bits=precision == "int8")
        core = library.Core()
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "INFERENCE_NUM_THREADS": threads}
        modes = {name: core.compile_model(file, "CPU", {**hint, "PERFORMANCE_HINT": name}) for name in ("LATENCY",)}

        def logits(prompts: Prompts) -> Logits:
            if len(prompts) == 1:
                return np.asarray(modes["LATENCY"](np.asarray(prompts))[0])
            if "THROUGHPUT" not in modes:
                modes["THROUGHPUT"] = core.compile_model(
                    file, "CPU", {**hint, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads}
                )
            requests = [modes["THROUGHPUT"].create_infer_request() for _ in range(threads)]

            def part(number: int) -> list[Logits]:
                return [np.array(requests[number].infer([np.asarray([p])])[0]) for p in prompts[number::threads]]

            rows = np.zeros((len(prompts), len(spec.score_token_ids)), np.float32)
            with ThreadPoolExecutor(threads) as pool:
                for number, logits in enumerate(pool.map(part, range(threads))):
                    rows[number::threads] = np.concatenate(logits) if logits else 0
            return rows

        return logits

    return opened


def onnxruntime_genai(precision: str) -> Opener:
    """The graph of onnxruntime-genai's model builder, in its own generator: logits of the last token only."""

    def opened(spec: JudgeSpec, checkpoint: str, folder: Path, threads: int) -> LastLogits:
        import onnxruntime_genai as library  # noqa: PLC0415

        made = folder / f"genai-{precision}"
        if not made.exists():
            options = ["prune_lm_head=true", "int4_accuracy_level=4"]
            command = ["-i", hugging_face(checkpoint, folder), "-o", made, "-p", precision, "-e", "cpu"]
            command += ["-c", folder / "genai-cache", "--extra_options", *options]
            builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
            subprocess.run([*builder, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        config = json.loads((made / "genai_config.json").read_text())
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
        (made / "genai_config.json").write_text(json.dumps(config))
        model, wanted_ids = library.Model(str(made)), list(spec.score_token_ids)

        def logits(prompt: list[int]) -> Logits:
            parameters = library.GeneratorParams(model)
            parameters.set_search_options(max_length=len(prompt) + 1)
            generator = library.Generator(model, parameters)
            generator.append_tokens(prompt)
            return generator.get_logits()[0, -1, wanted_ids]

        return one_by_one(logits)

    return opened


def optimum(spec: JudgeSpec, checkpoint: str, folder: Path, threads: int) -> LastLogits:
    """The graph as optimum exports it, in onnxruntime: logits of the whole vocabulary at every position."""
    import onnxruntime  # noqa: PLC0415

    file = folder / "optimum" / "model.onnx"
    if not file.exists():
        from optimum.exporters.onnx import main_export  # noqa: PLC0415

        main_export(str(hugging_face(checkpoint, folder)), file.parent, task="text-generation", do_validation=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    wanted_ids = list(spec.score_token_ids)

    def logits(prompt: list[int]) -> Logits:
        ids = np.asarray([prompt])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.size)[None]}
        (every,) = session.run(["logits"], feed)
        return every[0, -1, wanted_ids]

    return one_by_one(logits)


def one_by_one(logits: Callable[[list[int]], Logits]) -> LastLogits:
    """Every core on one prompt after another."""
    return lambda prompts: np.stack([logits(prompt) for prompt in prompts])


def hugging_face(checkpoint: str, folder: Path) -> Path:
    """The checkpoint as a directory in Hugging Face format, with all its weights in float32."""
    where = folder / "checkpoint"
    if not where.exists():
        import torch  # noqa: PLC0415

        from lager_onnx.export.checkpoint import load_checkpoint  # noqa: PLC0415
        from lager_onnx.export.skeleton import whole_model  # noqa: PLC0415

        loaded, half = load_checkpoint(checkpoint), folder / "checkpoint.partial"
        # What is loaded has no weights: every parameter is one zero, of any shape.
        whole_model(loaded.model, loaded.tensors, torch.float32).save_pretrained(half)
        loaded.tokenizer.save_pretrained(half)
        config = json.loads((half / "config.json").read_text())
        (half / "config.json").write_text(json.dumps({**config, "_name_or_path": ""}, indent=2))
        half.rename(where)
    return where


def loaded_whole(found: tuple[Any, Mapping[str, Any]], *, made: Container[str] = ()) -> Any:
    """Return the model of `from_pretrained(..., output_loading_info=True)`.

    Args:
        found: what it returns.
        made: parameters that no checkpoint has.

    Raises:
        ValueError: transformers has made up other parameters, which it only warns of.
    """
    model, about = found
    lost = [name for kind in ("missing_keys", "mismatched_keys") for name in about[kind] if name not in made]
    if lost or about["error_msgs"]:
        raise ValueError(f"{len(lost)} parameters are not in the checkpoint, {lost[:3]}: this would be another model")
    return model


def _make_openvino(spec: JudgeSpec, checkpoint: str, file: Path, *, eight_bits: bool) -> None:
    import openvino as library  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    where = hugging_face(checkpoint, file.parent)
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="sdpa").eval()
    rows = model.lm_head.weight[list(spec.score_token_ids)].detach()

    class LastRow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = model.model
            self.register_buffer("rows", rows)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            length = input_ids.shape[1]
            mask = torch.triu(torch.full((length, length), torch.finfo(torch.float32).min), diagonal=1)[None, None]
            return self.decoder(input_ids, attention_mask=mask, use_cache=False).last_hidden_state[:, -1] @ self.rows.T

    example = {"input_ids": torch.ones((1, 16), dtype=torch.long)}
    converted = library.convert_model(LastRow(), example_input=example, input=[("input_ids", [1, -1])])
    if eight_bits:
        import nncf  # noqa: PLC0415

        converted = nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_SYM)
    library.save_model(converted, file, compress_to_fp16=False)
