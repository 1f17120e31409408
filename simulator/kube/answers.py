"""Answers as HTTP has them: objects in the form that was negotiated, failures, and the headers that go with them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml
from aiohttp import web

from simulator.kube.negotiation import JSON, YAML, Form, failure_form
from simulator.kube.status import ApiFailure

NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_MOST_WARNINGS_BYTES = 4 * 1024
_LONGEST_WARNING = 256


class _YamlDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # a choice at run time
    """As the real server: no aliases, and texts that would be read as something else in double quotes."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar(_YAML_TEXT, text, style="|")
    read_as = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    plain = text and text not in _OLD_BOOLEANS and read_as == _YAML_TEXT
    return dumper.represent_scalar(_YAML_TEXT, text, style=None if plain else '"')


_YAML_TEXT = "tag:yaml.org,2002:str"
_OLD_BOOLEANS = ("y", "Y", "n", "N")
"""Texts that only old readers of YAML took for something else."""
_YamlDumper.add_representer(str, _represent_text)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=JSON, headers=headers)


def text_response(text: str, status: int = 200) -> web.Response:
    """An answer in plain text."""
    return web.Response(text=text, status=status, headers=NO_SNIFFING)


def answer(body: Any, form: Form, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """An answer in the form that the client wants, with a `Warning` header for each warning."""
    if form.media_type == YAML:
        text = yaml.dump(body, Dumper=_YamlDumper, default_flow_style=False)
        response = web.Response(body=text.encode(), status=status, content_type=YAML)
    elif form.pretty:
        encoded = msgspec.json.format(msgspec.json.encode(body), indent=2)
        response = web.Response(body=encoded, status=status, content_type=JSON)
    else:
        response = json_response(body, status)
    return _with_warnings(response, warnings)


def failure_answer(failure: ApiFailure, accept: str) -> web.Response:
    """The Status object of a failure, with the time after which to come back if it says one.

    `accept` is what the client wants answers to be.
    """
    response = answer(failure.body, failure_form(accept), failure.code)
    retry_s = (failure.body.get("details") or {}).get("retryAfterSeconds")
    if retry_s:
        response.headers["Retry-After"] = str(retry_s)
    return _with_warnings(response, failure.warnings)


def _with_warnings(response: web.Response, warnings: Iterable[str]) -> web.Response:
    """As the real server: each text once, and when all together are too long, each cut short."""
    texts = list(dict.fromkeys(warnings))
    if sum(len(text.encode()) for text in texts) > _MOST_WARNINGS_BYTES:
        texts = [text.encode()[:_LONGEST_WARNING].decode(errors="ignore") for text in texts]
    for text in texts:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{" ".join(quoted.split(chr(10)))}"')
    return response
