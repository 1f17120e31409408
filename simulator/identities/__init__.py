"""Who may do what at the queue: keys, permissions, credentials, and the Secrets that carry them to workers."""
