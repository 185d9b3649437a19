"""TLS traffic with known plaintext. Waits for a line on stdin before each step, prints what it did.

Usage: scene.py SCENE CERT KEY ; SCENE is one of the functions below.
"""

import ctypes
import socket
import sys
import threading


def step():
    """The test says when to go on."""
    sys.stdin.readline()


def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def contexts(cert, key):
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    client = ssl.create_default_context(cafile=cert)
    client.check_hostname = False
    return server, client


def message(port, number, size):
    head = f"{port} {number} {size}\n".encode()
    return head + bytes((port + number + i) % 251 for i in range(size))


def read_exactly(sock, size):
    got = b""
    while len(got) < size:
        part = sock.recv(65536)
        if not part:
            raise EOFError(f"{len(got)} of {size} bytes")
        got += part
    return got


def serve(listener, context, connections):
    """Echoes each connection until its end, one thread each."""

    def echo(raw):
        with context.wrap_socket(raw, server_side=True) as sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept():
        for _ in range(connections):
            threading.Thread(target=echo, args=(listener.accept()[0],)).start()

    threading.Thread(target=accept).start()


def exchange(sock, numbers, size):
    port = sock.getsockname()[1]
    for number in numbers:
        data = message(port, number, size(number))
        sock.sendall(data)
        assert read_exactly(sock, len(data)) == data


def connect(address, context):
    return context.wrap_socket(socket.create_connection(address))


def listen():
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def many(cert, key):
    """16 connections at once from 4 threads, 6 messages each, of 0 to 70,000 bytes."""
    server, client = contexts(cert, key)
    listener = listen()
    serve(listener, server, 16)
    step()

    def run():
        for _ in range(4):
            with connect(listener.getsockname(), client) as sock:
                exchange(sock, range(6), lambda n: [0, 1, 300, 5000, 16384, 70_000][n])
                tell("conn", sock.getsockname()[1], 6)

    threads = [threading.Thread(target=run) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]


def old(cert, key):
    """A connection that is older than the first step."""
    server, client = contexts(cert, key)
    listener = listen()
    serve(listener, server, 1)
    with connect(listener.getsockname(), client) as sock:
        exchange(sock, range(3), lambda n: 100)
        tell("ready")
        step()
        exchange(sock, range(3, 6), lambda n: 100)
        tell("conn", sock.getsockname()[1], 3)
        step()


def late(cert, key):
    """The library is mapped long after exec, and then used at the test's word."""
    step()
    server, client = contexts(cert, key)
    tell("imported")
    step()
    listener = listen()
    serve(listener, server, 1)
    with connect(listener.getsockname(), client) as sock:
        exchange(sock, range(3), lambda n: 100)
        tell("conn", sock.getsockname()[1], 3)


def memory(cert, key):
    """TLS through memory BIOs: the library never touches the socket."""
    import asyncio

    server, client = contexts(cert, key)

    async def main():
        async def echo(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname(), ssl=client, server_hostname="")
        for n in range(3):
            data = message(1, n, 1000)
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()
        listener.close()

    step()
    asyncio.run(main())
    tell("done")


def library(cert, key):
    """The library's own calls: both forms, looks without taking, an object used for two connections."""
    server, _ = contexts(cert, key)
    ssl = ctypes.CDLL("libssl.so.3")
    for name in ["TLS_client_method", "SSL_CTX_new", "SSL_new"]:
        getattr(ssl, name).restype = ctypes.c_void_p
    pointer = ctypes.c_void_p
    context = pointer(ssl.SSL_CTX_new(pointer(ssl.TLS_client_method())))
    listener = listen()
    serve(listener, server, 2)
    step()
    buffer = ctypes.create_string_buffer(100)
    length = ctypes.c_size_t()
    obj = pointer(ssl.SSL_new(context))
    for _ in range(2):
        with socket.create_connection(listener.getsockname()) as sock:
            assert ssl.SSL_set_fd(obj, sock.fileno()) == 1
            assert ssl.SSL_connect(obj) == 1
            assert ssl.SSL_write(obj, b"write", 5) == 5
            assert ssl.SSL_peek(obj, buffer, 100) == 5
            assert ssl.SSL_peek_ex(obj, buffer, pointer(100), ctypes.byref(length)) == 1
            assert ssl.SSL_read(obj, buffer, 2) == 2
            assert ssl.SSL_read_ex(obj, buffer, pointer(100), ctypes.byref(length)) == 1 and length.value == 3
            assert ssl.SSL_write_ex(obj, b"write_ex", pointer(8), ctypes.byref(length)) == 1 and length.value == 8
            assert ssl.SSL_read(obj, buffer, 100) == 8
            sock.setblocking(False)
            assert ssl.SSL_read(obj, buffer, 100) == -1
            tell("object", obj.value, sock.getsockname()[1])
            ssl.SSL_shutdown(obj)
        assert ssl.SSL_clear(obj) == 1
    ssl.SSL_free(obj)


def programs(cert, key):
    """Programs that live a millisecond."""
    import subprocess

    step()
    for _ in range(20):
        subprocess.run(["/usr/bin/true", "argument"], check=True)
    tell("done")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    tell("end")
