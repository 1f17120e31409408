"""Kubernetes' functions of URLs."""

import re
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from simulator.kube.cel.function import URL, CelError, Function, accepted_by, function
from simulator.kube.go_text import go_quoted

_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")
_BEGINS = "URL parse error during conversion from string: parse "
_KEPT_IN_PATH = "/!$&'()*+,;=:@%~"


def _parsed(text: str) -> SplitResult:
    bad = _BAD_ESCAPE.search(text)
    problem = ""
    if not text:
        problem = "empty url"
    elif bad is not None:
        problem = f"invalid URL escape {go_quoted(bad[0])}"
    elif not text.startswith("/") and not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", text):
        problem = "invalid URI for request"
    else:
        try:
            parts = urlsplit(text)
        except ValueError as error:  # brackets are without their counterpart, or have no address between them
            raise CelError(f"{_BEGINS}{go_quoted(text)}: missing ']' in host") from error
        port = re.fullmatch(r"(?:.*@)?(?:\[[^\]]*\]|[^:]*)(:.*)?", parts.netloc)
        if port is not None and not re.fullmatch(r":\d*", port[1] or ":"):
            problem = f"invalid port {go_quoted(port[1])} after host"
        else:
            return parts
    raise CelError(f"{_BEGINS}{go_quoted(text)}: {problem}")


def url(text: str) -> str:
    """The text, which is an absolute URL or path.

    Raises:
        CelError: it is none.
    """
    _parsed(text)
    return text


def _host(url: str) -> str:
    return _parsed(url).netloc.rpartition("@")[2]


def _hostname(url: str) -> str:
    host = re.sub(r":\d*$", "", _host(url))
    return host.removeprefix("[").removesuffix("]")


def _port(url: str) -> str:
    found = re.search(r":(\d*)$", _host(url))
    return found[1] if found else ""


def _escaped_path(url: str) -> str:
    return quote(_parsed(url).path, safe=_KEPT_IN_PATH)


def _query(url: str) -> dict[str, list[str]]:
    return {unquote(name): values for name, values in parse_qs(_parsed(url).query, keep_blank_values=True).items()}


FUNCTIONS = (
    function("url", ("string",), URL, url),
    function("isURL", ("string",), "bool", accepted_by(url)),
    Function("getScheme", (URL,), "string", lambda url: _parsed(url).scheme),
    Function("getHost", (URL,), "string", _host),
    Function("getHostname", (URL,), "string", _hostname),
    Function("getPort", (URL,), "string", _port),
    Function("getEscapedPath", (URL,), "string", _escaped_path),
    Function("getQuery", (URL,), "map<string, list<string>>", _query),
)
