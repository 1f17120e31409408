"""How the CLI speaks: results on stdout, for people or as JSON; complaints and logs on stderr; colour on a terminal."""

import json
import sys
from typing import Any

import structlog
from rich.console import Console


class Output:
    """Writes for a person, or one JSON document per call for a machine."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True, quiet=as_json)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Write a line for a person; nothing in JSON mode. `style` is a rich style such as `bold`."""
        self._console.print(text, style=style, markup=False)

    def result(self, value: Any) -> None:
        """Write a value as one line of JSON; nothing for a person."""
        if self.as_json:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()

    def pretty(self, value: Any) -> None:
        """Write a value for a person, as indented JSON."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False))

    @staticmethod
    def complain(text: str) -> None:
        """Write a complaint on stderr."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"unitsim: {text}", style="red", markup=False)


def configure_logs(level: int) -> None:
    """Send structured logs of a level, such as `logging.WARNING`, and worse to stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
