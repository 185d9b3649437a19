"""The MySQL scene: a MariaDB server of its own, its command line and PyMySQL. All are children of this process.

usage: scene_mysql.py FOLDER SECONDS
"""

import collections
import pathlib
import re
import signal
import subprocess
import sys

from nginx import free_ports, wait_until_listening

SQL = """
CREATE TABLE users (id int PRIMARY KEY, name varchar(40));
INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace');
SELECT * FROM users WHERE name = 'Ada';
UPDATE users SET name = 'Grace Hopper' WHERE id = 2;
SELECT name FROM missing;
SELEC nonsense;
DELETE FROM users WHERE id > 1;
"""
SHOP = pathlib.Path(__file__).with_name("mysql_shop.py")
ORDERS_A_SECOND = 5


def main(folder, seconds):
    data, [port] = folder / "data", free_ports(1)
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db", "--auth-root-authentication-method=normal"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(folder / "error.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={folder}/socket", f"--port={port}",
             "--bind-address=127.0.0.1", "--skip-grant-tables", "--general-log=1", f"--general-log-file={folder}/general.log"],
            stderr=log)
    try:
        wait_until_listening(port, server)
        client = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={port}", "--user=root"]
        subprocess.run([*client, "-e", "CREATE DATABASE shop"], check=True)
        with open(folder / "client.txt", "w", encoding="utf-8") as out:
            # statements that fail are part of the scene
            subprocess.run([*client, "--force", "shop"], input=SQL, text=True, check=False, stdout=out, stderr=out)
        orders = max(1, int(seconds * ORDERS_A_SECOND))
        subprocess.run(["/usr/bin/python3", SHOP, str(port), str(orders), folder / "shop.txt"], check=True)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def counted(folder):
    """The queries in the server's log by their first word, and the errors the clients were told."""
    log = (folder / "general.log").read_text()
    words = re.findall(r"^(?:\d{6} [ \d]\d:\d\d:\d\d)?\t\s*\d+ (?:Query|Execute)\t(\w*)", log, re.M)
    counts = collections.Counter(word.upper() for word in words)
    told = (folder / "client.txt").read_text() + (folder / "shop.txt").read_text()
    counts.update(f"error {number}" for number in re.findall(r"^ERROR (\d+) ", told, re.M))
    return {"->": counts, "<-": counts}, f"MariaDB {len(words)} statements, its clients {counts.total() - len(words)} errors"


def first_word(span):
    """Of the query text, which stands behind the name."""
    return re.match(r"\w*", span.rest.partition(": ")[2])[0].upper()


def labels(span):
    """The same words of a span."""
    if re.search(r" (mysql|mariadb)(/| |$)", span.rest):
        yield first_word(span)
        if error := re.search(r" error=(\S+)", span.rest):
            yield f"error {error[1]}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
