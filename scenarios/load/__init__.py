"""Load: callers simulated by locust, and what they measure. Importing this imports no locust, which patches sockets."""
