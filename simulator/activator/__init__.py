"""The activator: turns every accepted invocation into one dispatch for one worker, or into a failed result."""
