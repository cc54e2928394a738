"""How to mend what is wrong, in the words of the interface that it is told on."""

from dataclasses import dataclass
from typing import Literal

Interface = Literal["command", "python", "http"]


@dataclass(frozen=True)
class Cure:
    """A remedy, in the words of each interface.

    Attributes:
        command: on the command line, with its flags.
        python: in Python, with its arguments.
        http: in a request; "" where a client can do nothing about it.
    """

    command: str
    python: str
    http: str = ""

    def told(self, interface: Interface) -> str:
        """Return the words for an interface."""
        return {"command": self.command, "python": self.python, "http": self.http}[interface]


@dataclass(frozen=True)
class Notice:
    """Something that a user should know, for a log; as text, it gives Python's cure."""

    problem: str
    cure: Cure | None = None

    def told(self, interface: Interface) -> str:
        """Return its text for an interface: the problem, and how to mend it there."""
        return with_cure(self.problem, self.cure, interface)

    def __str__(self) -> str:
        return self.told("python")


def with_cure(problem: str, cure: Cure | None, interface: Interface) -> str:
    """Return a problem and how to mend it on an interface, in one line."""
    words = cure.told(interface) if cure else ""
    return f"{problem}: {words}" if words else problem
