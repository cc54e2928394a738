"""What a judge writes greedily, held against transformers."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from lager_onnx.runtime.decode import Decoder, Text, Written

NEAR_TIE = 1e-4  # between the two largest logits


def write_as_transformers(
    decoder: Decoder, model: PreTrainedModel, prompts: Sequence[list[int]], tokens: int
) -> tuple[list[Written], int]:
    """Writes behind prompts, which are graded as they are, and asserts that transformers writes the same.

    Returns:
        What was written, and how many texts depart from transformers' at a near-tie, the only excuse.
    """
    gaps: list[list[float]] = [[] for _ in prompts]

    def text(prompt: list[int], gaps: list[float]) -> Text:
        def choose(logits: np.ndarray) -> int:
            second, first = np.partition(logits, -2)[-2:]
            gaps.append(float(first - second))
            return int(logits.argmax())

        return Text(prompt, tokens, choose, lambda _: False, lambda _: prompt)

    done = dict(decoder.run(enumerate(map(text, prompts, gaps))))
    results, ties = [], 0
    for number, prompt in enumerate(prompts):
        result = done[number]
        assert isinstance(result, Written)
        given = torch.tensor([prompt])
        with torch.inference_mode():
            expected = model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False,
                eos_token_id=None, pad_token_id=0,
            )[0, len(prompt) :].tolist()  # fmt: skip
        pairs = zip(result.tokens, expected, strict=True)
        differ = next((at for at, (got, wanted) in enumerate(pairs) if got != wanted), None)
        assert differ is None or gaps[number][differ] < NEAR_TIE
        results.append(result)
        ties += differ is not None
    return results, ties
