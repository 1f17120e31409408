"""The controllers that a cluster needs and the embedded one has not: replica sets, deployments, scheduling."""
