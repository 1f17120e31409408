"""The user container's side of a worker: one local HTTP API on a unix socket, and nothing of the platform behind it."""
