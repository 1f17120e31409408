"""The worker's trusted half: the only program in a pod that knows NATS, subjects and credentials."""
