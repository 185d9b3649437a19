"""The PostgreSQL scene: a server of its own, psql, and pgbench with each of its query modes. All are children of this process.

usage: scene_postgresql.py FOLDER SECONDS
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from nginx import free_ports, wait_until_listening

SQL = """
CREATE TABLE users (id int PRIMARY KEY, name text, born date);
INSERT INTO users VALUES (1, 'Ada', '1815-12-10'), (2, 'Grace', '1906-12-09');
SELECT * FROM users WHERE name = 'Ada';
COPY users FROM STDIN;
3\tAlan\t1912-06-23
4\tEdsger\t1930-05-11
\\.
BEGIN;
UPDATE users SET name = 'Grace Hopper' WHERE id = 2;
COMMIT;
SELECT name FROM missing;
SELEC nonsense;
SELECT 1 / 0;
DELETE FROM users WHERE id > 1;
DROP TABLE users;
"""
TRANSACTIONS_A_SECOND = 5


def program(name):
    """The newest PostgreSQL of Debian."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return found[-1] if found else shutil.which(name)


def main(folder, seconds):
    data, [port] = folder / "data", free_ports(1)
    data.mkdir()
    shutil.chown(data, "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run([*as_postgres, program("initdb"), "-D", data, "-A", "trust", "--no-sync"], check=True, stdout=subprocess.DEVNULL)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": data, "fsync": "off",
                "log_statement": "all", "log_min_messages": "warning", "log_line_prefix": "%p %e "}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with open(folder / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([*as_postgres, program("postgres"), "-D", data, *options], stderr=log, cwd=data)
    environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        wait_until_listening(port, server)
        # statements that fail are part of the scene
        subprocess.run([program("psql"), "-X"], input=SQL.encode(), check=True, **quiet)
        subprocess.run([program("pgbench"), "-i", "-q"], check=True, **quiet)
        for mode in "simple", "extended", "prepared":
            subprocess.run(
                [program("pgbench"), "-M", mode, "-c", "2", "-t", str(max(1, int(seconds * TRANSACTIONS_A_SECOND)))], check=True, **quiet)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def counted(folder):
    """The statements in the server's log by their first word and SQLSTATE: one for each query message and each execution."""
    statements, last = [], {}
    for line in (folder / "server.log").read_text().splitlines():
        if found := re.match(r"(\d+) (\w{5}) (LOG:  statement|LOG:  execute [^:]*|STATEMENT): +(\w*)", line):
            process, state, kind, word = found.groups()
            # a text that is no SQL is not logged as a statement, only as the one of an error
            if kind == "STATEMENT" and state != "42601":
                last[process][1] = state
            else:
                last[process] = [word.upper(), state]
                statements.append(last[process])
    by_word = collections.Counter(f"{word} {state}" for word, state in statements)
    return {"->": by_word, "<-": by_word}, f"PostgreSQL {by_word.total()} statements"


def first_word(span):
    """Of the query text, which stands behind the name."""
    return re.match(r"\w*", span.rest.partition(": ")[2])[0].upper()


def labels(span):
    """The same words of a span."""
    if " postgresql/" in span.rest or span.rest.endswith(" postgresql"):
        error = re.search(r" error=(\S+)", span.rest)
        state = error[1] if error else "00000" if span.status == "ok" else "?"
        yield f"{first_word(span)} {state}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
