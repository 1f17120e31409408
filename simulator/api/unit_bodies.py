"""The JSON bodies of the unit routes as they may arrive (contract 4.2): types only, the rules are in `units_request`.

Every field may be absent or null; unknown ones are ignored.
"""

import msgspec


class EnvBody(msgspec.Struct):
    """One of `template.envs`."""

    name: str | None = None
    value: str | None = None


class PortBody(msgspec.Struct):
    """One of `template.ports`."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class TemplateBody(msgspec.Struct):
    """`template`: what the runtime container runs and offers."""

    command: list[str] | None = None
    args: list[str] | None = None
    envs: list[EnvBody] | None = None
    ports: list[PortBody] | None = None


class AccessBody(msgspec.Struct, rename="camel"):
    """`access`: which port the unit's URL points to."""

    primary_port: str | None = None
    scheme: str | None = None


class FrameworkBody(msgspec.Struct, rename="camel"):
    """`serverless.framework`: where the sidecar finds the framework."""

    socket_path: str | None = None
    invoke_path: str | None = None
    health_path: str | None = None


class ServerlessBody(msgspec.Struct, rename="camel"):
    """`serverless` (contract 5.2), and from `maxAvailableCount` on what the contract does not know."""

    enabled: bool | None = None
    request_id: str | None = msgspec.field(name="requestID", default=None)
    min_available_count: int | None = None
    idle_timeout_seconds: int | None = None
    min_request_count: int | None = None
    max_available_count: int | None = None
    template_only: bool | None = None
    on_worker_loss: str | None = None
    max_attempts: int | None = None
    framework: FrameworkBody | None = None


class SshBody(msgspec.Struct):
    """`ssh`: only whether it is asked for."""

    enabled: bool | None = None


class StorageMountBody(msgspec.Struct, rename="camel"):
    """One of `storageMounts`."""

    name: str | None = None
    mount_path: str | None = None


class UpdateBody(msgspec.Struct, rename="camel"):
    """Body of `PUT /api/v1/gpu-units/{name}`."""

    image: str | None = None
    template: TemplateBody | None = None
    access: AccessBody | None = None
    ssh: SshBody | None = None
    serverless: ServerlessBody | None = None
    storage_mounts: list[StorageMountBody] | None = None


class CreateBody(UpdateBody, rename="camel"):
    """Body of `POST /api/v1/gpu-units`."""

    operation_id: str | None = msgspec.field(name="operationID", default=None)
    name: str | None = None
    spec_name: str | None = None
    package_id: str | None = msgspec.field(name="packageID", default=None)
    cpu: str | None = None
    memory: str | None = None
    gpu: int | None = None
