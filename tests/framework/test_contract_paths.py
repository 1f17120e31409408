"""Paths of the contract (5.2, 7.1): one form for all parts of the platform."""

import pytest

from framework.contract import (
    DEFAULT_SOCKET_PATH,
    MAX_SOCKET_PATH_BYTES,
    SOCKET_DIR,
    ContractError,
    clean_http_path,
    clean_socket_path,
)


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", "/invoke"),
        ("/", "/invoke"),
        (" / ", "/invoke"),
        ("//", "/invoke"),
        ("/x/..", "/invoke"),
        ("run", "/run"),
        ("run/", "/run"),
        ("//run//it", "/run/it"),
        ("/a/./b/../c", "/a/c"),
        ("/../../etc", "/etc"),
    ],
)
def test_http_paths_are_cleaned(path: str, cleaned: str) -> None:
    assert clean_http_path(path, "/invoke") == cleaned


@pytest.mark.parametrize("path", ["/a b", "/a\nb", "/a?b", "/a#b", "/a\0b"])
def test_http_paths_that_no_request_line_can_hold_are_refused(path: str) -> None:
    with pytest.raises(ContractError, match="must not contain"):
        clean_http_path(path, "/invoke")


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", DEFAULT_SOCKET_PATH),
        ("  ", DEFAULT_SOCKET_PATH),
        ("tmp/serverless-framework/x.sock", f"{SOCKET_DIR}/x.sock"),
        ("//tmp/serverless-framework//a/../x.sock", f"{SOCKET_DIR}/x.sock"),
        (f"{SOCKET_DIR}/a/b/x.sock", f"{SOCKET_DIR}/a/b/x.sock"),
    ],
)
def test_socket_paths_are_cleaned(path: str, cleaned: str) -> None:
    assert clean_socket_path(path) == cleaned


@pytest.mark.parametrize(
    "path",
    [
        SOCKET_DIR,
        f"{SOCKET_DIR}/",
        f"{SOCKET_DIR}/../x.sock",
        f"{SOCKET_DIR}-other/x.sock",
        "/run/x.sock",
        f"{SOCKET_DIR}/" + "x" * MAX_SOCKET_PATH_BYTES,
        f"{SOCKET_DIR}/a\0b",
    ],
)
def test_socket_paths_outside_the_shared_directory_are_refused(path: str) -> None:
    with pytest.raises(ContractError):
        clean_socket_path(path)
