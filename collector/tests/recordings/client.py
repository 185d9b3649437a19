"""Pipelines requests on one connection, then writes on one thread while another reads: client.py PORT"""
import socket, sys, threading

address = ("127.0.0.1", int(sys.argv[1]))


def request(path):
    return b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()


with socket.create_connection(address) as pipe:
    # Every third one is not there.
    pipe.sendall(b"".join(request("gone/%d" % i if i % 3 == 0 else "%d" % i) for i in range(1, 16)))
    pipe.shutdown(socket.SHUT_WR)
    while pipe.recv(200):
        pass

with socket.create_connection(address) as shared:
    turn = threading.Semaphore(1)

    def write():
        for i in range(16, 31):
            turn.acquire()
            shared.sendall(request("%d" % i))

    writer = threading.Thread(target=write)
    writer.start()
    answers = shared.makefile("rb")
    for _ in range(16, 31):
        length = 0
        while (line := answers.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answers.read(length)
        turn.release()
    writer.join()
