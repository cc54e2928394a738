"""How to mend what an export is refused for, on the command line and in Python."""

from typing import Final

from lager_onnx.models.cure import Cure

REMOTE_CODE: Final = Cure(
    command="code that ships with the checkpoint runs with --trust-remote-code",
    python="code that ships with the checkpoint runs with trust_remote_code=True",
)
WIDER: Final = Cure(
    command="export it in a wider precision; --no-verify writes the judge all the same",
    python="export it in a wider precision; verify_judge=False writes the judge all the same",
)
UNKNOWN_ARCHITECTURE: Final = Cure(
    command="the exporter may not know this architecture; --no-verify writes the judge all the same",
    python="the exporter may not know this architecture; verify_judge=False writes the judge all the same",
)
FEWER_BITS: Final = Cure(
    command="make room, or export it into another folder, or with fewer bits (--precision)",
    python="make room, or export it into another folder, or with fewer bits (precision=)",
)
ROUND_IT: Final = Cure(
    command="export the checkpoint that it was made from; for few bits, let --precision int8 or int4 round it",
    python='export the checkpoint that it was made from; for few bits, let precision="int8" or "int4" round it',
)
WITHOUT_REASONING: Final = Cure(command="export it without --reasoning", python="export it without reasoning=True")
