"""Server-side apply: who manages which field of an object, and what an applied configuration makes of it."""
