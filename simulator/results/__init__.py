"""The result store (contract 10): every result, by its invocation, in a key-value bucket of JetStream."""
