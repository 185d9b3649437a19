"""Checks that dependencies between our crates point one way, and that pure crates know none of ours.

In: `cargo metadata`. Out: exit status 1 and a line for each edge that DIRECTIONS does not allow.
"""

import json
import subprocess
import sys

PREFIX = "sidelight"
# crate -> the crates of ours it may use in what it ships
DIRECTIONS = {
    "sidelight": {"sidelight-config", "sidelight-events", "sidelight-loader", "sidelight-protocol-parsers", "sidelight-symbols"},
    "sidelight-config": set(),
    "sidelight-events": set(),
    "sidelight-loader": {"sidelight-events", "sidelight-symbols"},
    "sidelight-protocol-parsers": set(),
    "sidelight-symbols": set(),
}
# tests and benches may use everything, and nothing may use them
ON_TOP = {"sidelight-benches", "sidelight-integration-tests"}

metadata = json.loads(subprocess.run(
    ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"], check=True, stdout=subprocess.PIPE).stdout)
wrong = []
for package in metadata["packages"]:
    name = package["name"]
    if name in ON_TOP:
        continue
    if name not in DIRECTIONS:
        wrong.append(f"{name} is not listed in integration-tests/dependencies.py")
        continue
    for dependency in package["dependencies"]:
        other = dependency["name"]
        shipped = dependency["kind"] != "dev"
        if other.startswith(PREFIX) and (other in ON_TOP or (shipped and other not in DIRECTIONS[name])):
            wrong.append(f"{name} must not depend on {other}")
print(*wrong, sep="\n", end="\n" if wrong else "")
sys.exit(bool(wrong))
