"""What the names in a recording, such as `rv-3` and `uid-1`, stand for in a replay; the comparison of two answers.

A name stands for one value throughout a case, and resource versions keep their order.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

_LITERALS = re.compile(
    r"(rv-\d+|uid-\d+|time-\d+|rnd\d\d|(?<=kube-api-access-)rnd|continue-\d+|hex-\d+|hash-\d+|ip-\d+(?::\d+)?|<age>|<date>)"
)
_FORMS = {
    "rv": r"\d+",
    "uid": r"[0-9a-f]{8}-[0-9a-f-]{27}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "rnd": r"[a-z0-9]{5}",
    "continue": r"[A-Za-z0-9_-]+",
    "hex": r"[0-9a-f]{64}",
    "hash": r"[0-9A-F]{128}",
    "ip": r"[0-9a-f.:]+",
    "<user>": r".+",
    "<age>": r"(?:\d+[smhdy])+|<unknown>",
    "<date>": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
}
_MANY_VALUED = re.compile(r"time-\d+|rnd|<age>|<date>")
"""Seconds may pass between two answers, and each pod has a volume `kube-api-access-rnd` of its own, so one of these
names may stand for several values."""
_POD_VOLUME = re.compile(r"kube-api-access-([a-z0-9]{5})\b")

_IDS = ("uid", "resourceVersion")


class Placeholders:
    """The names of one case."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self._latest: dict[str, str] = {}

    def fill_in(self, value: Any) -> Any:
        """The recorded value with the names replaced by what they stand for."""
        values = self._latest | self.known
        return json.loads(_LITERALS.sub(lambda match: values.get(match[0], match[0]), json.dumps(value)))

    def differences(self, recorded: Any, answered: Any, where: str = "") -> Iterator[str]:
        """How the answer differs from the recorded one; what the names in it stand for is learned."""
        if isinstance(recorded, dict) and isinstance(answered, dict):
            yield from self._of_fields(recorded, answered, where)
        elif isinstance(recorded, list) and isinstance(answered, list):
            if len(recorded) != len(answered):
                yield f"{where}: {len(recorded)} items were recorded, {len(answered)} answered"
            for index, (one, other) in enumerate(zip(recorded, answered, strict=False)):
                yield from self.differences(one, other, f"{where}[{index}]")
        elif isinstance(recorded, str) and isinstance(answered, str):
            if not self._matches(recorded, answered):
                yield f"{where}: {recorded!r} was recorded, {answered!r} answered"
        elif recorded != answered or type(recorded) is not type(answered):
            yield f"{where}: {recorded!r} was recorded, {answered!r} answered"

    def learn(self, recorded: Any, answered: Any) -> None:
        """Take over the ids of an answer that is not compared."""
        if not (isinstance(recorded, dict) and isinstance(answered, dict)):
            return
        known, now = recorded.get("metadata"), answered.get("metadata")
        if isinstance(known, dict) and isinstance(now, dict):
            self.known.update({known[name]: now[name] for name in _IDS if name in known and name in now})

    def learn_pod_volume(self, text: str) -> None:
        """Take over the name of the volume with the service account's token, which recordings often leave out."""
        found = _POD_VOLUME.search(text)
        if found:
            self._latest["rnd"] = found[1]

    def order_problems(self) -> list[str]:
        """Which resource versions are not in the order of the recorded ones.

        Two may be one here: between them the recorded server wrote something that was not asked for.
        """
        versions = sorted((int(name[3:]), int(value)) for name, value in self.known.items() if name.startswith("rv-"))
        return [
            f"rv-{one} is {first}, rv-{other} is {second}"
            for (one, first), (other, second) in itertools.pairwise(versions)
            if first > second
        ]

    def _of_fields(self, recorded: dict[str, Any], answered: dict[str, Any], where: str) -> Iterator[str]:
        for name in sorted(recorded.keys() | answered.keys()):
            if name not in answered:
                yield f"{where}.{name}: missing, {recorded[name]!r} was recorded"
            elif name not in recorded:
                yield f"{where}.{name}: too much, {answered[name]!r}"
            else:
                yield from self.differences(recorded[name], answered[name], f"{where}.{name}")

    def _matches(self, recorded: str, answered: str) -> bool:
        parts = _LITERALS.split(recorded)
        seen: set[str] = set()
        pattern = "".join(self._pattern(part, seen) for part in parts)
        match = re.fullmatch(pattern, answered, re.DOTALL)
        if match is None:
            return False
        for group, value in match.groupdict().items():
            name = group.replace("_", "-")
            if _MANY_VALUED.fullmatch(name):
                self._latest[name] = value
            else:
                self.known[name] = value
        return True

    def _pattern(self, part: str, seen: set[str]) -> str:
        if not _LITERALS.fullmatch(part) and part != "rnd":
            return re.escape(part)
        if part in self.known:
            return re.escape(self.known[part])
        form = next(form for prefix, form in _FORMS.items() if part.startswith(prefix))
        group = part.replace("-", "_").replace(":", "_")
        if part in seen or part.startswith("<"):
            return f"(?:{form})"
        seen.add(part)
        return f"(?P<{group}>{form})"
