"""A Kubernetes-compatible API in this process, and the client through which every part uses it or a real cluster."""
