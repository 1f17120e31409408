"""The recordings of a real cluster's pods: what a kubelet was given, what it told, and what of it is compared.

Times, ids, addresses and names are put in one form. What the recordings leave out is left out here too, and the pod's
own `resources`: the recorded node told the memory limits of cgroup v1 there, which are 9007199254740988Ki for none.
"""

import copy
import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from simulator.kube.kinds import Object
from simulator.kubelet.images import Missing

GOLDEN = Path(__file__).parent / "golden"
SCENARIOS = sorted(path.stem for path in GOLDEN.glob("*.jsonl"))
SLEEP_SCALE = 0.2
"""What the recorded programs sleep, and the grace periods, take this part of the time."""
NOT_RECORDED = ("volumeMounts", "resources", "user", "allocatedResources")
HTTPD = """
import http.server, os, sys
os.chdir(sys.argv[2])
handler = http.server.SimpleHTTPRequestHandler
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
"""
EventKey = tuple[str, str, str, str]


@dataclass
class RecordedPod:
    """One pod: its spec as this machine can play it, and what was told of it.

    `steps` are statuses in order, and between them what was done: `{"do": "delete", "grace": 5}` and the like.
    """

    name: str
    namespace: str
    spec: Object
    steps: list[Object] = field(default_factory=list)
    events: list[EventKey] = field(default_factory=list)

    @property
    def statuses(self) -> list[Object]:
        """The statuses alone."""
        return [step["status"] for step in self.steps if "status" in step]


@cache
def lines(scenario: str) -> list[Object]:
    """The lines of a recording."""
    return [json.loads(line) for line in (GOLDEN / f"{scenario}.jsonl").read_text().splitlines()]


def recorded_pods(scenario: str) -> list[RecordedPod]:
    """The pods of a recording that came to a node."""
    pods: dict[str, RecordedPod] = {}
    template: Object = {}
    for line in lines(scenario):
        if line["kind"] == "action":
            template = _after_action(line, template, pods.values())
        elif line["kind"] == "Pod":
            name = line.get("name") or line["object"]["metadata"]["name"]
            if name not in pods:
                pods[name] = RecordedPod(name, f"scratch-{scenario}", playable(template))
            _note(pods[name], line)
        elif line["kind"] == "Event" and line["source"] == "kubelet":
            note_event(pods[line["object"]["name"]], line)
    return [pod for pod in pods.values() if pod.statuses]


def missing_images(scenario: str) -> dict[str, Missing]:
    """The images that could not be pulled, and what was said of them; the rest is from other recordings."""
    pulls = (re.fullmatch(r'Failed to pull image "(.+?)": (.*)', line.get("message", "")) for line in lines(scenario))
    return {found[1]: Missing(found[2]) for found in pulls if found}


def _after_action(line: Object, template: Object, pods: Any) -> Object:
    body = line.get("body") or {}
    if body.get("kind") == "Deployment":
        found: Object = body["spec"]["template"]["spec"]
        return found
    if line.get("method") == "PATCH" and "template" in (body.get("spec") or {}):
        return _patched(template, body["spec"]["template"].get("spec") or {})
    for pod in pods:
        if body.get("kind") in ("ConfigMap", "Secret"):
            pod.steps.append({"do": "create", "body": body})
        elif (found_kill := re.fullmatch(r"SIGKILL to process 1 of container (\S+)", line["do"])) is not None:
            pod.steps.append({"do": "kill", "container": found_kill[1]})
    return template


def _patched(template: Object, patch: Object) -> Object:
    changed = copy.deepcopy(template)
    for entry in patch.get("containers") or ():
        for container in changed["containers"]:
            if container["name"] == entry["name"]:
                container.update(entry)
    return changed


def _note(pod: RecordedPod, line: Object) -> None:
    if "deletionTimestamp" in line and not any(step.get("do") == "delete" for step in pod.steps):
        pod.steps.append({"do": "delete", "grace": line["deletionGracePeriodSeconds"]})
    status = line.get("status") or line["object"]["status"]
    if "startTime" in status:
        told = normalised(status, pod.name, pod.namespace)
        if not pod.statuses or pod.statuses[-1] != told:
            pod.steps.append({"status": told})


def note_event(pod: RecordedPod, line: Object) -> None:
    """Note an event when it is seen for the first time; a probe may come to a container that has just ended, or not."""
    if "container is in CONTAINER_EXITED state" in line["message"]:
        return
    message = neutral(line["message"], pod.name, pod.namespace)
    key = (line["eventType"], line["reason"], message, line["object"].get("fieldPath", ""))
    if key not in pod.events:
        pod.events.append(key)


def neutral(text: str, name: str, namespace: str, uid: str = "uid-1") -> str:
    """A message without the pod's own names and addresses."""
    text = text.replace(uid, "UID").replace(name, "POD").replace(namespace, "NAMESPACE")
    return re.sub(r"\bip-\d+\b|127\.0\.0\.1(?=:8091)", "IP", text)


def normalised(status: Object, name: str, namespace: str, uid: str = "uid-1") -> Object:
    """A status in the form in which statuses are compared."""
    text = neutral(json.dumps(status), name, namespace, uid)
    told: Object = json.loads(re.sub(r'"(t0[+-][^"]*|\d{4}-\d\d-\d\dT[\d:]+Z)"', '"TIME"', text))
    for key in ("hostIPs", "podIPs"):
        told.pop(key, None)
    for key in ("hostIP", "podIP"):
        if key in told:
            told[key] = "IP"
    told.pop("resources", None)
    ids: dict[str, int] = {}
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in told.get(group) or ():
            _normalise_container(container, ids)
    return told


def _normalise_container(container: Object, ids: dict[str, int]) -> None:
    for key in NOT_RECORDED:
        container.pop(key, None)
    container["imageID"] = bool(container["imageID"])
    for state in (container["lastState"], container["state"]):
        for detail in state.values():
            for key in ("startedAt", "finishedAt"):
                detail[key] = "TIME" if detail.get(key) else None
            if "containerID" in detail:
                detail["containerID"] = ids.setdefault(detail["containerID"], len(ids))
    if "containerID" in container:
        container["containerID"] = ids.setdefault(container["containerID"], len(ids))


@cache
def known_statuses() -> frozenset[str]:
    """Every status that some recording has."""
    found = (status for scenario in SCENARIOS for pod in recorded_pods(scenario) for status in pod.statuses)
    return frozenset(json.dumps(status, sort_keys=True) for status in found)


def playable(template: Object) -> Object:
    """The pod of a template as this machine can play it: busybox's httpd replaced, and all that takes time shorter."""
    spec = copy.deepcopy(template)
    spec["terminationGracePeriodSeconds"] = 2
    for container in _containers(spec):
        container["command"] = [_playable_text(part) for part in container["command"]]
        programs = {"HEALTH_PORT": "8091", "PYTHON": sys.executable, "HTTPD": HTTPD}
        added = [{"name": name, "value": value} for name, value in programs.items()]
        container["env"] = [*container.get("env", ()), *added]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if command := (container.get(probe) or {}).get("exec"):
                command["command"] = [_playable_text(part) for part in command["command"]]
        if startup := container.get("startupProbe"):
            startup["failureThreshold"] = 2 if "exec" in startup else 5
        for hook in (container.get("lifecycle") or {}).values():
            hook["exec"]["command"] = shlex.split(_playable_text(shlex.join(hook["exec"]["command"])))
    return spec


def _containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec["containers"]


def _playable_text(text: str) -> str:
    text = re.sub(r"/tmp/(?!serverless)|(?<![.\w])/w/", "./", text)
    text = re.sub(r"httpd -p 8091 -h ([^\s;)]+);?", r'"$PYTHON" -c "$HTTPD" "$HEALTH_PORT" \1 > /dev/null 2>&1 &', text)
    return re.sub(r"\bsleep ([1-9]\d?)\b", lambda found: f"sleep {int(found[1]) * SLEEP_SCALE:g}", text)
