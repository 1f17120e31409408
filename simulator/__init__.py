"""The platform around the worker: queue server, Kubernetes API, reconciler, kubelet, runtime API, activator, CLI."""
