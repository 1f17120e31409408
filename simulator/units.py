"""Create requests for units that a person or a scenario wants without spelling them out."""

from collections.abc import Sequence
from typing import Any, Final

ECHO_IMAGE: Final = "gpuunit-sim/echo:latest"


def echo_unit(
    request_id: str, command: Sequence[str] = (), *, image: str = ECHO_IMAGE, role: str = "template"
) -> dict[str, Any]:
    """Body of `POST /api/v1/gpu-units` for a unit that serves the pool `request_id` with the echo framework.

    `command` is run instead, when given. The unit is called `<pool>-<role>`; `image` is one that holds the echo.
    """
    name = f"{request_id.replace('_', '-').strip('-')[:40].strip('-') or 'pool'}-{role}"
    template: dict[str, Any] = {"ports": [{"name": "http", "port": 8080}]}
    if command:
        template["command"] = list(command)
    return {
        "operationID": f"create-{name}",
        "name": name,
        "specName": "g1.1",
        "image": image,
        "template": template,
        "access": {"primaryPort": "http", "scheme": "http"},
        "serverless": {"requestID": request_id},
    }
