"""What redis-py says to the server of record.sh: everything a dissector of RESP2 can list."""
import socket, sys
import redis

port = int(sys.argv[1])
r = redis.Redis(port=port, client_name="scene")
r.set("user:1", "a secret value", ex=100)
r.get("user:1")
r.get("none")
r.hset("hash", mapping={"field1": "Hello", "field2": "World"})
r.hgetall("hash")
r.set("large", "x" * 40000)
r.get("large")
for wrong in [("LPUSH", "user:1", "x"), ("NOSUCH", "x"), ("EVALSHA", "f" * 40, 0)]:
    try:
        r.execute_command(*wrong)
    except redis.ResponseError:
        pass
pipe = r.pipeline(transaction=False)
for i in range(10):
    pipe.incr(f"counter:{i}")
pipe.execute()
pipe = r.pipeline(transaction=True)
pipe.set("a", 1).incr("a").lrange("list", 0, -1)
pipe.execute()
r.eval("return redis.call('GET', KEYS[1])", 1, "a")
r.rpush("list", *range(100))
r.lrange("list", 0, -1)
r.blpop("list", timeout=1)
r.blpop("nothing", timeout=0.01)
other = redis.Redis(port=port, db=3)
other.set("in three", "x")
other.close()
subscriber = r.pubsub()
subscriber.subscribe("news", "more")
subscriber.get_message(timeout=1)
subscriber.get_message(timeout=1)
r.publish("news", "a message")
subscriber.get_message(timeout=1)
subscriber.unsubscribe()
subscriber.get_message(timeout=1)
subscriber.get_message(timeout=1)
subscriber.close()
r.close()
with socket.create_connection(("127.0.0.1", port)) as line:
    line.sendall(b"*1\r\n$4\r\nPING\r\n")
    line.recv(100)
