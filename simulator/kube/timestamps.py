"""Kubernetes timestamps: UTC, whole seconds."""

from datetime import UTC, datetime


def format_time(time: datetime) -> str:
    """`2026-11-22T10:15:00Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime:
    """The present, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)
