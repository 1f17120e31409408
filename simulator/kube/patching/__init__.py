"""Patches: what each of the media types of a PATCH makes of a stored object."""
