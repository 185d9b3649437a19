#!/usr/bin/python3
"""Records one connection as a session: a proxy between a real client and a real server.

    record.py PORT SERVER_PORT FILE [N]    listens on 127.0.0.1:PORT, serves N connections (else one), ends with the last, which
                                           is the one recorded

A line for what each read gave: `>` (by the client) or `<`, a space, the bytes escaped as in a byte string.
"""
import selectors, socket, sys

port, server_port, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
listener = socket.create_server(("127.0.0.1", port))
for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 1):
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", server_port))
    with open(path, "w", encoding="ascii") as file, selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ, (">", server))
        ready.register(server, selectors.EVENT_READ, ("<", client))
        while ready.get_map():
            for key, _ in ready.select():
                mark, other = key.data
                call = key.fileobj.recv(65536)
                if call:
                    file.write(f"{mark} {repr(call)[2:-1]}\n")
                    other.sendall(call)
                else:
                    ready.unregister(key.fileobj)
                    other.shutdown(socket.SHUT_WR)
