"""The ledger: what is under way, folded from the stream itself. Every API process and every activator keeps one."""
