"""How fast a judge grades on this machine."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from lager_onnx.models.device import Device
from lager_onnx.runtime.engines.base import Engine
from lager_onnx.runtime.engines.open import open_judge_engine
from lager_onnx.runtime.folder import read_spec
from lager_onnx.runtime.prompts import PromptEncoder

# Tokens of a prompt, how many prompts, and how many of the tokens all of them begin with.
_CASES: Final = ((512, 1, 0), (128, 32, 0), (512, 8, 0), (1500, 4, 0), (512, 7, 448))


@dataclass(frozen=True)
class Speed:
    """What grading some prompts took.

    Attributes:
        prompts: how many.
        tokens: of each.
        shared: so many tokens at the beginning of all of them are the same, as with several criteria for one response.
        seconds: of every repetition.
    """

    prompts: int
    tokens: int
    shared: int
    seconds: tuple[float, ...]

    @property
    def responses_a_second(self) -> float:
        """Median over the repetitions."""
        return self.prompts / median(self.seconds)

    @property
    def tokens_a_second(self) -> float:
        """Median over the repetitions; what is shared counts for every prompt."""
        return self.tokens * self.responses_a_second

    def describe(self) -> str:
        """One line for people."""
        slow, fast = (self.prompts * self.tokens / seconds for seconds in (max(self.seconds), min(self.seconds)))
        what = "1 prompt" if self.prompts == 1 else f"{self.prompts} prompts"
        alike = f", the first {self.shared} alike" if self.shared else ""
        return (
            f"{what + f' of {self.tokens} tokens{alike}':45s}  {self.responses_a_second:7.2f} responses/s  "
            f"{self.tokens_a_second:7.0f} tokens/s ({slow:.0f}-{fast:.0f})"
        )


@dataclass(frozen=True)
class Bench:
    """An opened judge that is to be timed: the provider that runs it, seconds until it was ready."""

    engine: Engine
    load: float
    vocabulary: int
    context: int

    @classmethod
    def open(
        cls, folder: Path, *, device: Device = "auto", threads: int | None = None, max_memory: int | None = None
    ) -> "Bench":
        """Opens a judge as `Judge.load` does, but for the checksums.

        Raises:
            JudgeFolderError: not a judge, or a damaged one.
            DeviceError: CUDA was asked for and cannot run.
        """
        start = time.perf_counter()
        spec = read_spec(folder)
        vocabulary = PromptEncoder(folder, spec).vocabulary_size
        engine = open_judge_engine(folder, spec, device=device, threads=threads, max_memory=max_memory)
        return cls(engine, time.perf_counter() - start, vocabulary, spec.context_length)

    def speeds(self, repeats: int = 5) -> Iterator[Speed]:
        """Times prompts of several lengths, made of random tokens: what they say makes no difference to the time.

        Lengths beyond the judge's context are cut to it. Every case is run once before it is timed.
        """
        random = np.random.default_rng(0)
        for length, prompts, shared in dict.fromkeys(
            (min(length, self.context), prompts, min(shared, self.context // 2)) for length, prompts, shared in _CASES
        ):
            seconds = []
            for _ in range(repeats + 1):
                ids = random.integers(0, self.vocabulary, (prompts, length))
                ids[:, :shared] = ids[0, :shared]
                start = time.perf_counter()
                self.engine.submit(ids.tolist())()
                seconds.append(time.perf_counter() - start)
            yield Speed(prompts, length, shared, tuple(seconds[1:]))
