#!/usr/bin/python3
"""Records sessions of real clients against a real PostgreSQL: postgresql/*.session beside this file.

Needs Debian's postgresql, postgresql-contrib, python3-psycopg; run as root (the server runs as `postgres`).
"""
import glob, os, pathlib, shutil, socket, subprocess, sys, tempfile

import psycopg

HERE = pathlib.Path(__file__).parent
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
ROOM = tempfile.mkdtemp(prefix="sessions")
DSN = "host=127.0.0.1 user=postgres dbname={} port={} gssencmode=disable"
shutil.chown(ROOM, "postgres", "postgres")


def as_postgres(*argv):
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv]


def port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def listening(port):
    """Asked of the kernel: a connection would be the one that is recorded."""
    while f":{port:04X} 00000000:0000 0A" not in open("/proc/net/tcp").read():
        pass


def record(name, client, connections=1):
    """`client`: called with a DSN, or psql's script, or the arguments of a program that makes so many connections."""
    at, path = port(), HERE / "postgresql" / f"{name}.session"
    proxy = subprocess.Popen([sys.executable, HERE / "record.py", str(at), str(SERVER), path, str(connections)])
    listening(at)
    dsn = DSN.format("shop", at)
    if callable(client):
        client(dsn)
    else:
        argv, script = ([*client, dsn], None) if isinstance(client, list) else (["psql", "-X", "-q", dsn], client.encode())
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(argv, input=script, env={**os.environ, "HOME": ROOM}, cwd=ROOM, check=False, **quiet)
    proxy.wait()


def extended(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select %s::int, 'secret-a'", [41])
        for value in range(3):
            connection.execute("insert into item values (%s, %s)", [value, f"secret-{value}"], prepare=True)
        for broken in ("selec 1", "select 1/%s", "insert into item values (%s, 'secret-d')"):
            try:
                connection.execute(broken, [0] if "%s" in broken else None)
            except psycopg.Error:
                pass
        with connection.cursor().copy("copy item from stdin") as copy:
            for value in range(10, 14):
                copy.write_row([value, "secret-copied"])
        with connection.cursor().copy("copy (select * from item where id < %s) to stdout", [12]) as copy:
            list(copy)
        try:
            with connection.cursor().copy("copy item from stdin") as copy:
                copy.write(b"no number\tsecret-e\n")
        except psycopg.Error:
            pass
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.itersize = 2
            cursor.execute("select * from item order by id")
            list(cursor)
        connection.execute("select count(*) from item where name like %s", ["secret-%"])


def pipeline(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.pipeline() as pipe:
            for value in range(5):
                connection.execute("select %s::int + 1, 'secret-f'", [value])
            pipe.sync()
            for value in range(3):
                connection.execute("select count(*) from item where id = %s", [value], prepare=True)
            pipe.sync()
            connection.execute("update item set name = %s where id = 1", ["secret-g"])
        try:
            with connection.pipeline() as pipe:
                connection.execute("select 'secret-h'")
                connection.execute("select 1/%s", [0])
                connection.execute("select 'not executed'")
                connection.execute("delete from item where id = %s", [1])
                pipe.sync()
                connection.execute("select 'executed'")
        except psycopg.Error:
            pass
        connection.cursor().executemany("insert into item values (%s, %s)", [(n, "secret-i") for n in range(100, 120)])


SIMPLE = """
select 1, 'secret-a';
select generate_series(1, 9), 'secret-b';
insert into item values (70, 'secret-c'), (71, 'secret-d') returning id;
update item set name = 'secret-e' where id = 70;
select 1 \\; select 'secret-f' \\; update item set name = 'g' where id > 70;
selec 'secret-g';
insert into item values (70, 'secret-h');
select 1 \\; select 1/0 \\; select 3;
begin;
select 1/0;
select 'aborted';
rollback;
do $$ begin raise notice 'secret-i'; end $$;
listen news;
notify news, 'secret-j';
set application_name = 'secret-k';
\\copy item to 'out' where id < 80
copy (select 'secret-l' from generate_series(1, 20)) to stdout;
copy item from stdin;
80\tsecret-m
81\tsecret-n
\\.
copy item from stdin;
80\tsecret-o
\\.
;
select repeat('x', 300), 'secret-p' from generate_series(1, 3);
delete from item where id >= 70;
"""

BENCH = """
\\startpipeline
select abalance from pgbench_accounts where aid = :client_id + 1;
update pgbench_tellers set tbalance = tbalance + 1 where tid = 1;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, 1, 471147114, current_timestamp);
\\endpipeline
begin;
select 471247124;
end;
"""

SERVER = port()
initdb = as_postgres(f"{BIN}/initdb", "-A", "trust", "-D", f"{ROOM}/data")
subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
settings = [word for key in ("listen_addresses=127.0.0.1", "fsync=off") for word in ("-c", key)]
argv = as_postgres(f"{BIN}/postgres", "-D", f"{ROOM}/data", "-p", str(SERVER), "-k", ROOM, *settings)
server = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
try:
    listening(SERVER)
    while subprocess.run(["psql", "-X", "-q", "-c", "create database shop", DSN.format("postgres", SERVER)], stderr=subprocess.DEVNULL).returncode:
        pass
    shop = DSN.format("shop", SERVER)
    with psycopg.connect(shop, autocommit=True) as setup:
        setup.execute("create table item (id int primary key, name text)")
    subprocess.run(["pgbench", "-i", "-q", "-s", "1", shop], check=True, stderr=subprocess.DEVNULL)
    bench = pathlib.Path(ROOM, "bench.sql")
    bench.write_text(BENCH)
    (HERE / "postgresql").mkdir(exist_ok=True)
    record("simple", SIMPLE)
    record("extended", extended)
    record("pipeline", pipeline)
    record("prepared", ["pgbench", "-n", "-M", "prepared", "-t", "4", "-f", str(bench)], 2)
    record("tpcb", ["pgbench", "-n", "-M", "simple", "-t", "3"], 2)
finally:
    server.terminate()
    server.wait()
    shutil.rmtree(ROOM)
