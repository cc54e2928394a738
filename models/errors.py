"""The errors of lager-onnx.

A message says what is wrong, where (file and line of the record, layer, flag) and how to mend it. Where that differs
between the command line, Python and HTTP, the error has a `Cure`: as text it gives Python's.
The command line prints it without a traceback and exits with the error's `exit_code`:
2 for bad input or usage, 1 for work that failed, 130 after Ctrl-C.
"""

from typing import Self

from lager_onnx.models.cure import Cure, Interface, with_cure


class LagerError(Exception):
    """Base of every error that lager-onnx raises on purpose.

    Attributes:
        problem: what is wrong, and where.
        cure: how to mend it, where interfaces differ in that.
    """

    exit_code = 1

    def __init__(self, problem: str = "", cure: Cure | None = None):
        super().__init__(problem)
        self.problem, self.cure = problem, cure

    def told(self, interface: Interface) -> str:
        """Return the message for an interface, with its own cure."""
        return with_cure(self.problem, self.cure, interface)

    def at(self, where: str) -> Self:
        """Return the same error with the place before its message, such as a file and line."""
        found = type(self).__new__(type(self))
        found.__dict__.update(self.__dict__)
        found.problem = f"{where}: {self.problem}"
        found.args = (found.problem, *self.args[1:])
        return found

    def __str__(self) -> str:
        return self.told("python")


class ScaleError(LagerError):
    """A scale or a selection of layers that cannot be read."""

    exit_code = 2


class TemplateError(LagerError):
    """A prompt template that cannot be found or filled."""

    exit_code = 2


class RecordError(LagerError):
    """A record that cannot be graded: broken line, missing field, unknown criterion, too long."""

    exit_code = 2


class LabelError(LagerError):
    """Labels that cannot be learned from or compared with: missing, no numbers, out of scale, all the same, too few."""

    exit_code = 2


class OutputError(LagerError):
    """An output file that must not be written, or that could not be."""

    exit_code = 2


class JudgeFolderError(LagerError):
    """A folder that is not a judge, or a damaged one."""

    exit_code = 2


class HubError(LagerError):
    """A judge that cannot be fetched from the hub, or published there."""

    exit_code = 2


class GradingError(LagerError):
    """onnxruntime could not run a batch, mostly for want of memory."""


class MissingPackageError(LagerError):
    """A package that this work needs is not installed; says which extra brings it."""

    exit_code = 2


class StoppedError(LagerError):
    """Ctrl-C; says what was kept and how to go on."""

    exit_code = 130


class ReaderGoneError(LagerError):
    """Standard output is a pipe whose reader has gone, such as `head`: nothing is left to say."""

    exit_code = 141  # a shell's code for a program that SIGPIPE has ended


class DeviceError(LagerError):
    """An onnxruntime provider that cannot run here."""

    exit_code = 2


class CheckpointError(LagerError):
    """A checkpoint that cannot be found, read or used as a judge."""

    exit_code = 2


class ExportError(LagerError):
    """A graph in which the exporter did not find what it expects."""


class VerificationError(ExportError):
    """A judge that disagrees with PyTorch; nothing of it is kept."""
