"""Merges an applied configuration into a value: fields by name, items by key, everything else as a whole."""

from collections import deque
from typing import Any, Literal

from simulator.kube.apply.shape import Shape


def merged(shape: Shape, live: Any, config: Any) -> Any:
    """The live value with what the configuration says; nothing is taken away.

    A granular list is in its own order if the configuration has none of its items, else in that of the configuration.
    """
    form = shape.form(config)
    if form == "map" and not shape.map_atomic and live and isinstance(live, dict):
        return _merged_fields(shape, live, config or {})
    if form == "list" and not shape.list_atomic and live and isinstance(live, list):
        return _merged_items(shape, live, config or [])
    return config


def _merged_fields(shape: Shape, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    found = dict(live)
    for name, held in config.items():
        below = shape.field(name)
        found[name] = merged(below, live[name], held) if below is not None and name in live else held
    return found


def _merged_items(shape: Shape, live: list[Any], config: list[Any]) -> list[Any]:
    lives = [(shape.item_step(item), item) for item in live]
    configs = [(shape.item_step(item), item) for item in config]
    steps = [step for step, _ in lives]
    # An item that the live list holds twice is replaced rather than merged: which of the two would it be?
    known = {step: item for step, item in lives if steps.count(step) == 1}
    order = _merged_order(steps, [step for step, _ in configs])
    found: list[Any] = []
    for source, index in order:
        if source == "live":
            found.append(live[index])
            continue
        step, item = configs[index]
        found.append(merged(shape.items(), known[step], item) if step in known else item)
    return found


def _merged_order(live: list[str], config: list[str]) -> list[tuple[Literal["live", "config"], int]]:
    """Where the items of a merged list come from: one after the other, the list and the position in it.

    Shared items are in the order of the configuration; an item that only the live list has stays before the shared
    item that it stood before.
    """
    order: list[tuple[Literal["live", "config"], int]] = []
    shared = deque(step for step in config if step in live)
    at_live, at_config = 0, 0
    while at_live < len(live) or at_config < len(config):
        here = live[at_live] if at_live < len(live) else None
        if here is not None and here not in config:
            order.append(("live", at_live))
            at_live += 1
        elif here is not None and (not shared or here != shared[0]):
            at_live += 1  # it comes, or came, where the configuration has it
        else:
            step = config[at_config]
            order.append(("config", at_config))
            at_config += 1
            at_live += step == here
            if shared and step == shared[0]:
                shared.popleft()
    return order
