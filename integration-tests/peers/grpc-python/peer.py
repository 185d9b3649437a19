"""The gRPC peer of ../README.md on grpcio."""

import collections
import concurrent.futures
import itertools
import json
import os
import signal
import sys
import threading

import grpc

SERVICE = "sidelight.test.Echo"
CODES = {code.value[0]: code for code in grpc.StatusCode}
OK, CANCELLED = grpc.StatusCode.OK, grpc.StatusCode.CANCELLED
Ask = collections.namedtuple("Ask", "status count size delay", defaults=(0, 0, 0, 0))


class Counts:
    """How often each METHOD STATUS happened."""

    def __init__(self):
        self.lock, self.of = threading.Lock(), collections.Counter()

    def add(self, method, code):
        with self.lock:
            self.of[f"{method} {code.name}"] += 1

    def print(self):
        print(json.dumps(self.of), flush=True)


def parse(message):
    return Ask(*map(int, message[:64].split(b" ")[:4]))


def message(ask, padding=0):
    return b"%d %d %d %d " % ask + bytes(padding)


class Echo(grpc.GenericRpcHandler):
    """Every method takes an iterator of messages and yields answers; what it returns is the status."""

    def __init__(self, seen):
        self.seen = seen

    def service(self, details):
        method = details.method.lstrip("/")
        match method.removeprefix(SERVICE + "/"):
            case "Unary":
                return grpc.unary_unary_rpc_method_handler(self.last(method, self.once))
            case "ServerStream":
                return grpc.unary_stream_rpc_method_handler(self.every(method, self.several))
            case "ClientStream":
                return grpc.stream_unary_rpc_method_handler(self.last(method, self.at_end))
            case "BidiStream":
                return grpc.stream_stream_rpc_method_handler(self.every(method, self.each))
        # grpcio answers UNIMPLEMENTED by itself
        self.seen.add(method, grpc.StatusCode.UNIMPLEMENTED)
        return None

    def every(self, method, answers):
        def handle(request, context):
            code = CANCELLED
            try:
                code = yield from answers(request, context)
                if code is not OK:
                    context.set_code(code)
                    context.set_details("as asked")
            finally:
                self.seen.add(method, code)
        return handle

    def last(self, method, answers):
        def handle(request, context):
            replies = list(self.every(method, answers)(request, context))
            return replies[-1] if replies else b""
        return handle

    @staticmethod
    def wait(ask, context):
        """Waits as asked; False if the call ended first."""
        if not ask.delay:
            return True
        ended = threading.Event()
        return not (context.add_callback(ended.set) and ended.wait(ask.delay / 1000))

    def once(self, request, context):
        ask = parse(request)
        if not self.wait(ask, context):
            return CANCELLED
        if not ask.status:
            yield bytes(ask.size)
        return CODES[ask.status]

    def several(self, request, context):
        ask = parse(request)
        for _ in range(ask.count):
            yield bytes(ask.size)
        return CODES[ask.status] if self.wait(ask, context) else CANCELLED

    @staticmethod
    def at_end(requests, context):
        for request in requests:
            ask = parse(request)
        if not ask.status:
            yield bytes(ask.size)
        return CODES[ask.status]

    @staticmethod
    def each(requests, context):
        for request in requests:
            ask = parse(request)
            yield bytes(ask.size)
        return CODES[ask.status]


def serve(options):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    seen = Counts()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(128), handlers=[Echo(seen)])
    server.add_insecure_port(f"127.0.0.1:{options['port']}")
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop(0).wait()
    seen.print()


class Client:
    def __init__(self, options):
        self.options, self.seen = options, Counts()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{options['port']}", options=[("grpc.enable_http_proxy", 0)])
        # the time of a first call would else begin before there is a connection
        grpc.channel_ready_future(self.channel).result()
        make = {"Unary": self.channel.unary_unary, "Missing": self.channel.unary_unary, "ServerStream": self.channel.unary_stream,
                "ClientStream": self.channel.stream_unary, "BidiStream": self.channel.stream_stream}
        self.methods = {name: how(f"/{SERVICE}/{name}") for name, how in make.items()}

    def call(self, name, ask, metadata, up=1, padding=0, timeout=None, cancelled=False):
        one = message(ask, padding)
        request = (one for _ in range(up)) if name in ("ClientStream", "BidiStream") else one
        code = OK
        try:
            answer = self.methods[name](request, metadata=metadata, timeout=timeout)
            if name in ("ServerStream", "BidiStream"):
                for _ in answer:
                    if cancelled:
                        answer.cancel()
        except grpc.RpcError as error:
            code = error.code()
        self.seen.add(f"{SERVICE}/{name}", code)

    def work(self, i):
        metadata = (("traceparent", f"00-{i + 1:032x}-{i + 1:016x}-01"),) if "trace" in self.options else ()
        size, turn = i * 37 % 3000, i // 10
        match self.options.get("work", "mix"):
            case "unary":
                return self.call("Unary", Ask(size=10), metadata)
            case "large":
                return self.call("Unary", Ask(size=150_000), metadata, padding=60_000)
            case "huge":
                return self.call("Unary", Ask(size=3_000_000), metadata, padding=3_000_000)
            case "deadline":
                return self.call("Unary", Ask(delay=60_000), metadata, timeout=1)
            case "slow":
                return self.call("ServerStream", Ask(count=2, size=10, delay=100), metadata)
            case "cancel":
                return self.call("ServerStream", Ask(count=1, size=10, delay=60_000), metadata, cancelled=True)
        match i % 10:
            case 5:
                self.call("Unary", Ask([5, 13, 7, 3, 16][turn % 5], size=size), metadata)
            case 6:
                self.call("ServerStream", Ask(count=turn % 4, size=size), metadata)
            case 7:
                self.call("ClientStream", Ask(size=size), metadata, up=1 + turn % 4)
            case 8:
                self.call("BidiStream", Ask(10 if turn % 3 == 0 else 0, size=size), metadata, up=1 + turn % 4)
            case 9 if turn % 2 == 0:
                self.call("Missing", Ask(size=size), metadata)
            case 9:
                self.call("ServerStream", Ask(8, 2, size), metadata)
            case _:
                self.call("Unary", Ask(size=size), metadata)

    def run(self, start, until):
        stop = self.options.get("stop")
        numbers = itertools.count(start)

        def one_after_another():
            while not (stop and os.path.exists(stop)) and (i := next(numbers)) < until:
                self.work(i)

        threads = [threading.Thread(target=one_after_another) for _ in range(int(self.options.get("streams", 1)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def wait(path):
    """Until a named pipe gives a byte."""
    with open(path, "rb", buffering=0) as pipe:
        pipe.read(1)


def load(options):
    client, first = Client(options), int(options.get("first", 0))
    if first:
        client.run(0, first)
        print("waiting", flush=True)
        wait(options["go"])
    client.run(first, int(options.get("calls", 1)))
    if "hold" in options:
        wait(options["hold"])
    client.channel.close()
    client.seen.print()


if __name__ == "__main__":
    words = dict(word.split("=", 1) for word in sys.argv[2:])
    serve(words) if sys.argv[1] == "server" else load(words)
