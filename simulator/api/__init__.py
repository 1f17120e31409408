"""The runtime's HTTP API: units and invocations for users, over a Kubernetes API and a queue (contract section 4)."""
