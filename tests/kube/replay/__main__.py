"""How many recorded exchanges are answered equal: `python -m tests.kube.replay [--differences] [TOPIC[/CASE]]...`.

A directory among the arguments is where other recordings are.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from tests.kube.replay.cases import GOLDEN, play, recorded_cases


def main(arguments: list[str]) -> None:
    """Play the chosen cases and print the figures."""
    show = "--differences" in arguments
    folder = next((Path(argument) for argument in arguments if Path(argument).is_dir()), GOLDEN)
    chosen = [argument for argument in arguments if not argument.startswith("-") and Path(argument) != folder]
    compared: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for exchanges in recorded_cases(folder):
        topic, case = exchanges[0]["topic"], exchanges[0]["case"]
        if chosen and topic not in chosen and f"{topic}/{case}" not in chosen:
            continue
        for outcome in asyncio.run(play(exchanges)):
            compared[topic] += 1
            different[topic] += bool(outcome.differences)
            if outcome.differences and show:
                lines = [f"{topic}/{case}/{outcome.seq}", *(f"    {text[:400]}" for text in outcome.differences)]
                _say("\n".join(lines))
    for topic, number in compared.items():
        _say(f"{topic:10} {number:4} compared {number - different[topic]:4} equal {different[topic]:4} different")
    _say(f"{'all':10} {compared.total():4} compared {compared.total() - different.total():4} equal")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
