"""How the platform starts child processes, and how it makes sure that every one of them ends."""
