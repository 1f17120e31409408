"""Keys that are the same in every run, so that what follows from them can be compared."""

import hashlib

import nkeys  # type: ignore[import-untyped]

from simulator.install.keys import PlatformKeys

ISSUED_AT = 1_767_225_600


def fixed_keys() -> PlatformKeys:
    """Each seed made of its name; for nothing but tests."""
    kinds = {name: nkeys.from_seed(bytearray(seed, "ascii")) for name, seed in PlatformKeys.fresh().seeds.items()}
    seeds = {
        name: nkeys.encode_seed(hashlib.sha256(name.encode()).digest(), _PREFIXES[pair.public_key[:1]]).decode()
        for name, pair in kinds.items()
    }
    return PlatformKeys(seeds, ISSUED_AT)


_PREFIXES = {
    b"O": nkeys.PREFIX_BYTE_OPERATOR,
    b"A": nkeys.PREFIX_BYTE_ACCOUNT,
    b"U": nkeys.PREFIX_BYTE_USER,
}
