"""Scenes of socket calls. Each prints what it does, one line a call that moved bytes of a stream:

    call PORT w|r LENGTH FLAGS HEX     PORT is the local one (0: Unix socket), HEX the bytes a hook should have copied,
                                       FLAGS letters: L length only, C cut; - none

It starts when it reads a line, and says `end` at the end.   usage: scene.py NAME MECHANISM
"""

import array
import ctypes
import os
import select
import socket
import sys
import tempfile
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
LIMIT = 16384
MECHANISM = sys.argv[2] if len(sys.argv) > 2 else "socket"


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("len", ctypes.c_uint)]


def syscall(number, *arguments):
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def iovecs(buffers):
    return (Iovec * len(buffers))(*[Iovec(ctypes.addressof(b), len(b)) for b in buffers])


def messages(buffers):
    vectors = [iovecs([b]) for b in buffers]
    made = (Mmsghdr * len(buffers))()
    for one, vector in zip(made, vectors):
        one.hdr.iov, one.hdr.iovlen = ctypes.cast(vector, ctypes.POINTER(Iovec)), 1
    made.keep = vectors, buffers
    return made


def said(data):
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def empty(size):
    return (ctypes.c_char * size)()


def port(sock):
    return 0 if sock.family == socket.AF_UNIX else sock.getsockname()[1]


def call(sock, direction, data, flags="", copied=LIMIT):
    if "L" in flags:
        copied = 0
    elif len(data) > copied:
        flags += "C"
    print("call", port(sock), direction, len(data), flags or "-", data[:copied].hex() or "-", flush=True)


def sent(sock, data, flags="", copied=LIMIT):
    call(sock, "w", data, flags, copied)


def received(sock, data, flags="", copied=LIMIT):
    call(sock, "r", data, flags, copied)


def pair(family=socket.AF_INET, host="127.0.0.1", backlog=5):
    listener = socket.socket(family)
    listener.bind((host, 0))
    listener.listen(backlog)
    client = socket.socket(family)
    client.connect(listener.getsockname()[:2])
    server, _ = listener.accept()
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.close()
    print("pair", port(client), port(server), flush=True)
    return client, server


def exact(sock, size, **how):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def variants():
    """Every call that writes, each read by another call that reads."""
    client, server = pair()
    w, r = client.fileno(), server.fileno()

    def writes(data, how):
        how(said(data))
        sent(client, data)

    def reads(size, how):
        # All bytes are there: one call takes them.
        while len(server.recv(size, socket.MSG_PEEK)) < size:
            pass
        received(server, how(size))

    def plain(number):
        def read(size):
            buffer = empty(size)
            got = syscall(number, r, buffer, size, 0, 0, 0)
            return buffer.raw[:got]
        return read

    def vectored(number, *rest):
        def read(size):
            parts = [empty(size // 2), empty(size - size // 2)]
            syscall(number, r, iovecs(parts), 2, *rest)
            return b"".join(p.raw for p in parts)
        return read

    def recvmsg(size):
        parts = [empty(3), empty(size - 3)]
        header = Msghdr(iov=ctypes.cast(vector := iovecs(parts), ctypes.POINTER(Iovec)), iovlen=2)
        syscall(47, r, ctypes.byref(header), 0)
        return b"".join(p.raw for p in parts)

    def recvmmsg(size):
        buffer = empty(size)
        assert syscall(299, r, made := messages([buffer]), 1, 0, 0) == 1
        return buffer.raw[:made[0].len]

    def sendmsg(b):
        header = Msghdr(iov=ctypes.cast(vector := iovecs([b]), ctypes.POINTER(Iovec)), iovlen=1)
        syscall(46, w, ctypes.byref(header), 0)

    steps = [
        (b"write and read", lambda b: syscall(1, w, b, len(b)), plain(0)),
        (b"sendto and recvfrom", lambda b: syscall(44, w, b, len(b), 0, 0, 0), plain(45)),
        (b"writev and readv", lambda b: syscall(20, w, iovecs([b]), 1), vectored(19)),
        (b"pwritev2 and preadv2", lambda b: syscall(328, w, iovecs([b]), 1, -1, -1, 0), vectored(327, -1, -1, 0)),
        (b"sendmsg and recvmsg", sendmsg, recvmsg),
        (b"sendmmsg and recvmmsg", lambda b: syscall(307, w, messages([b]), 1, 0), recvmmsg),
    ]
    for size in (1, 255, 256, 257, 1024, 1025, 4096, 4097, 16384):
        steps.append((bytes(i * 7 % 251 for i in range(size)), lambda b: syscall(1, w, b, len(b)), plain(45)))
    for data, write, read in steps:
        writes(data, write)
        reads(len(data), read)


def several():
    """Several messages in one call, and more buffers than are copied."""
    client, server = pair()
    parts = [b"first ", b"second ", b"third"]
    assert syscall(307, client.fileno(), messages([said(p) for p in parts]), 3, 0) == 3
    if MECHANISM == "syscall":
        sent(client, b"".join(parts))
    else:
        for part in parts:
            sent(client, part, "L")
    received(server, exact(server, 18))
    # Two receiving messages, in the size of what there is: each takes one.
    server.sendall(b"abcdef")
    sent(server, b"abcdef")
    buffers = [empty(2), empty(4)]
    while len(client.recv(6, socket.MSG_PEEK)) < 6:
        pass
    assert syscall(299, client.fileno(), messages(buffers), 2, 0, 0) == 2
    if MECHANISM == "syscall":
        received(client, b"abcdef")
    else:
        received(client, b"ab", "L")
        received(client, b"cdef", "L")
    # Sixteen buffers are copied, among them an empty one; the rest is cut.
    parts = [b"%02d" % i for i in range(20)]
    parts[3] = b""
    client.sendmsg(parts)
    sent(client, b"".join(parts), copied=30)
    received(server, exact(server, 38))
    # Buffers that together are more than the largest class.
    parts = [bytes([i]) * 5000 for i in range(1, 6)]
    client.sendmsg(parts)
    sent(client, b"".join(parts))


def beside():
    """Calls that move nothing out of the stream, or do not show it."""
    client, server = pair()
    client.sendall(b"looked at twice")
    sent(client, b"looked at twice")
    assert exact_peek(server, 15) == b"looked at twice"
    server.recv(4, socket.MSG_PEEK)
    received(server, exact(server, 15))
    client.sendall(b"thrown away")
    sent(client, b"thrown away")
    exact_peek(server, 11)
    assert syscall(45, server.fileno(), empty(11), 11, socket.MSG_TRUNC, 0, 0) == 11
    received(server, b"thrown away", "L")
    try:
        server.recv(10, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    try:
        server.recv(10, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    client.sendall(b"after all")
    sent(client, b"after all")
    received(server, exact(server, 9))


def exact_peek(sock, size):
    while len(data := sock.recv(size, socket.MSG_PEEK)) < size:
        pass
    return data


def closed(sock):
    """Waits until the other side's FIN is here."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    poll.poll()


def fin():
    """Half-close: data and FIN in one read, then the other way."""
    client, server = pair()
    client.sendall(b"request")
    sent(client, b"request")
    client.shutdown(socket.SHUT_WR)
    closed(server)
    received(server, server.recv(100))
    assert server.recv(100) == b""
    server.sendall(b"response")
    sent(server, b"response")
    received(client, exact(client, 8))
    server.sendall(b"last")
    sent(server, b"last")
    server.close()
    closed(client)
    received(client, client.recv(100))
    assert client.recv(100) == b""
    client.close()


def big():
    """One write of far more than is copied."""
    client, server = pair()
    data = bytes(i % 256 for i in range(100_000))
    done = []

    def reader():
        got = 0
        while got < len(data):
            part = server.recv(30_000)
            got += len(part)
            done.append(part)

    thread = threading.Thread(target=reader)
    thread.start()
    assert syscall(1, client.fileno(), said(data), len(data)) == len(data)
    thread.join()
    sent(client, data)
    for part in done:
        received(server, part)


def files():
    """sendfile and splice: lengths, and the stream goes on."""
    client, server = pair()
    with tempfile.TemporaryFile() as file:
        file.write(b"f" * 5000)
        file.flush()
        assert os.sendfile(client.fileno(), file.fileno(), 0, 5000) == 5000
    sent(client, b"f" * 5000, "L")
    exact_peek(server, 5000)
    received(server, server.recv(5000))
    read_end, write_end = os.pipe()
    os.write(write_end, b"through a pipe")
    assert syscall(275, read_end, 0, client.fileno(), 0, 14, 0) == 14
    sent(client, b"through a pipe", "L")
    exact_peek(server, 14)
    assert syscall(275, server.fileno(), 0, write_end, 0, 14, 0) == 14
    if MECHANISM == "syscall":
        received(server, b"through a pipe", "L")
    else:
        print("hole", port(server), "r", 14, flush=True)
    client.sendall(b"and on")
    sent(client, b"and on")
    received(server, exact(server, 6))


def unix():
    """Stream sockets of the machine itself."""
    a, b = socket.socketpair()
    for data in (b"there", b"and", b"there again"):
        a.sendall(data)
        sent(a, data)
        received(b, exact(b, len(data)))


def unix_path():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0sidelight test of a path")
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("\0sidelight test of a path")
    server, _ = listener.accept()
    client.sendall(b"x")
    exact(server, 1)


def passed():
    """A connection given to another process."""
    client, server = pair()
    client.sendall(b"one")
    sent(client, b"one")
    received(server, exact(server, 3))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        client.close()
        server.close()
        _, control, _, _ = theirs.recvmsg(1, 100)
        server = socket.socket(fileno=array.array("i", control[0][2])[0])
        theirs.recv(10)
        received(server, exact(server, 3))
        server.sendall(b"back")
        sent(server, b"back")
        os._exit(0)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [server.fileno()]))])
    server.close()
    client.sendall(b"two")
    sent(client, b"two")
    ours.send(b"go")
    os.waitpid(child, 0)
    received(client, exact(client, 4))


def waiting(descriptor):
    """A thread inside read(2) of the descriptor, and the list its bytes go to."""
    got = []
    thread = threading.Thread(target=lambda: got.append(os.read(descriptor, 100)))
    thread.start()
    inside = f"0 {descriptor:#x} "
    while not open(f"/proc/self/task/{thread.native_id}/syscall").read().startswith(inside):
        pass
    return thread, got


def replaced():
    """While a call waits, another thread puts another file in the place of its descriptor."""
    client, server = pair()
    _, other = pair()
    kept = server.dup()
    thread, got = waiting(server.fileno())
    os.dup2(other.fileno(), server.fileno())
    client.sendall(b"for the first")
    sent(client, b"for the first")
    thread.join()
    received(kept, got[0])
    # What is read from a pipe is no socket's.
    read_end, write_end = os.pipe()
    thread, got = waiting(read_end)
    os.dup2(kept.fileno(), read_end)
    os.write(write_end, b"from the pipe")
    thread.join()
    assert got == [b"from the pipe"]
    client.sendall(b"and on")
    sent(client, b"and on")
    received(kept, exact(kept, 6))


def older(sockets):
    client, server = sockets
    client.sendall(b"later")
    sent(client, b"later")
    received(server, exact(server, 5))


def talk(family=socket.AF_INET, host="127.0.0.1", backlog=5):
    client, server = pair(family, host, backlog)
    client.sendall(b"question")
    sent(client, b"question")
    received(server, exact(server, 8))
    server.sendall(b"answer")
    sent(server, b"answer")
    received(client, exact(client, 6))
    return client, server


def families():
    talk()
    talk(backlog=0)
    talk(socket.AF_INET6, "::1")
    talk(socket.AF_INET6, "::ffff:127.0.0.1")


def tree():
    """The same in a child, and in a child of a child that runs a program of its own."""
    talk()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        talk()
        os.execvp("python3", ["python3", __file__, "now", MECHANISM])
    os.waitpid(child, 0)


def flood():
    client, server = pair()
    for _ in range(200):
        client.sendall(b"x" * 900)
        exact(server, 900)


def reset():
    client, server = talk()
    client.sendall(b"unread")
    sent(client, b"unread")
    exact_peek(server, 6)
    server.close()
    try:
        client.recv(1)
    except ConnectionResetError:
        pass


def connect_out():
    """A server for somebody else: prints its port, answers one request."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print("listening", port(listener), flush=True)
    server, _ = listener.accept()
    exact(server, 4)
    server.sendall(b"pong")
    sys.stdin.readline()


def policies():
    """Three rounds on one connection; waits for a line after each."""
    client, server = talk()
    for _ in range(2):
        sys.stdin.readline()
        client.sendall(b"more")
        exact(server, 4)
        print("round", flush=True)


def deep():
    """One call of each kind, after a line, on a connection that is captured deep by then; then one beyond that limit."""
    client, server = talk()
    sys.stdin.readline()
    for size in (20_000, 100_000, 200_000):
        data = bytes(i % 251 for i in range(size))
        reader = threading.Thread(target=exact, args=(server, size))
        reader.start()
        assert syscall(1, client.fileno(), said(data), size) == size
        reader.join()
        sent(client, data, copied=131_072)
    for count, size in ((40, 100), (60, 1500)):
        parts = [bytes((i + j) % 249 for i in range(size)) for j in range(count)]
        buffers = [said(part) for part in parts]
        vectors = iovecs(buffers)
        reader = threading.Thread(target=exact, args=(server, count * size))
        reader.start()
        assert syscall(20, client.fileno(), vectors, count) == count * size
        reader.join()
        sent(client, b"".join(parts), copied=131_072)


if __name__ == "__main__":
    name = sys.argv[1]
    before = ()
    if name == "older":
        before = (pair(),)
    if name == "now":
        talk()
        sys.exit()
    print("ready", flush=True)
    sys.stdin.readline()
    globals()[name](*before)
    print("end", flush=True)
