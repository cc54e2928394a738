"""A model without weights, and its weights module by module while it computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel

from lager_onnx.export.sources.tensors import Tensors


def skeleton(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """The model that `make` makes, without its weights.

    Every parameter is one zero, expanded to the parameter's shape, with a storage of its own (the tracer merges
    parameters that share one). Buffers are real: they are computed from the configuration.
    """
    with init_empty_weights(include_buffers=False):
        model = make()
    model.tie_weights()
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in made:  # tied ones stay tied
                made[id(parameter)] = torch.nn.Parameter(torch.zeros(1).expand(parameter.shape), requires_grad=False)
            setattr(module, name, made[id(parameter)])
    return model.eval()


def whole_model(model: PreTrainedModel, tensors: Tensors, dtype: torch.dtype) -> PreTrainedModel:
    """Gives a model without weights all of them, in place: in memory, as `dtype`."""
    made: dict[int, torch.nn.Parameter] = {}
    for path, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in made:  # tied ones stay tied
                tensor = tensors.read(f"{path}.{name}".removeprefix(".")).to(dtype)
                made[id(parameter)] = torch.nn.Parameter(tensor, requires_grad=False)
            setattr(module, name, made[id(parameter)])
    return model


@contextmanager
def with_weights(
    model: PreTrainedModel, tensors: Tensors, change: Callable[[str, torch.Tensor], torch.Tensor] | None = None
) -> Iterator[None]:
    """While a module of `model` computes, its own parameters are there, in float32; before and after they are not.

    Args:
        model: its forward passes inside the block see the weights.
        tensors: under the model's names.
        change: is given a parameter's name and its tensor, and gives what the module is to see instead, in any type.
    """
    hooks = []
    for path, module in model.named_modules():
        own = {name: f"{path}.{name}".removeprefix(".") for name, _ in module.named_parameters(recurse=False)}
        if not own:
            continue
        empty = {name: getattr(module, name).data for name in own}

        def load(module: Any, _arguments: Any, own: dict[str, str] = own) -> None:
            for name, full_name in own.items():
                stored = tensors.read(full_name)
                getattr(module, name).data = (stored if change is None else change(full_name, stored)).float()

        def drop(module: Any, _arguments: Any, _output: Any, empty: dict[str, torch.Tensor] = empty) -> None:
            for name, tensor in empty.items():
                getattr(module, name).data = tensor

        hooks += [module.register_forward_pre_hook(load), module.register_forward_hook(drop, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
