"""The GPUUnit reconciler: what a unit wants, what was observed, and what the unit's status says about it."""
