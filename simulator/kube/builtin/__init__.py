"""What the API server knows of the built-in kinds beyond their schemas: defaults, rules, and what it sets itself."""
