"""The Redis scene: a server of its own, redis-cli, and redis-benchmark with 16 commands in a pipeline. All are children of this process.

usage: scene_redis.py FOLDER SECONDS
"""

import collections
import pathlib
import re
import signal
import subprocess
import sys

from nginx import free_ports, wait_until_listening

COMMANDS = """
SET user:1 Ada
GET user:1
HSET user:2 name Grace born 1906
HGETALL user:2
LPUSH queue a b c
LRANGE queue 0 -1
INCR user:1
NOSUCHCOMMAND x
EXPIRE user:2 100
DEL user:1
"""
REQUESTS_A_SECOND = 200


def main(folder, seconds):
    [port] = free_ports(1)
    with open(folder / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder], stdout=log)
    client = ["redis-cli", "-h", "127.0.0.1", "-p", str(port)]
    try:
        wait_until_listening(port, server)
        for command in COMMANDS.strip().splitlines():
            subprocess.run([*client, *command.split()], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-P", "16", "-c", "4", "-t", "set,get,incr,lpush", "-q",
             "-n", str(max(64, int(seconds * REQUESTS_A_SECOND)))],
            check=True, stdout=subprocess.DEVNULL)
        for section in "commandstats", "errorstats":
            with open(folder / section, "w", encoding="utf-8") as out:
                subprocess.run([*client, "INFO", section], check=True, stdout=out)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def counted(folder):
    """The server's own statistics: commands by name, errors by prefix. The two questions for them are commands as well."""
    commands = collections.Counter()
    for name, calls, rejected in re.findall(
            r"^cmdstat_(\w+)(?:\|\w+)?:calls=(\d+),.*?rejected_calls=(\d+)", (folder / "commandstats").read_text(), re.M):
        commands[name.upper()] += int(calls) + int(rejected)
    commands["INFO"] += 2
    errors = collections.Counter(
        {f"error {prefix}": int(count) for prefix, count in re.findall(r"^errorstat_(\w+):count=(\d+)", (folder / "errorstats").read_text(), re.M)})
    counts = commands + errors
    return {"->": counts, "<-": counts}, f"Redis {commands.total()} commands, {errors.total()} errors"


def labels(span):
    """The same words of a span."""
    if re.search(r" redis(/| |$)", span.rest):
        # the query text stands behind the name; what is no command has neither a text nor statistics
        if command := re.match(r"\w+", span.rest.partition(": ")[2]):
            yield command[0].upper()
        if error := re.search(r" error=(\S+)", span.rest):
            yield f"error {error[1]}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
