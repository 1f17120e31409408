"""SPDY/3.1, as far as kubectl speaks it: several streams of bytes over one connection."""
