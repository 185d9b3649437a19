#!/usr/bin/python3
"""What tshark finds in a capture of HTTP/2: a line for each stream with a request.

    golden-http2.py FILE PORT...    (the ports on which servers listen)

Of HTTP `CLIENT-PORT METHOD PATH STATUS >BYTES <BYTES`, the bytes being those of DATA frames each way, of gRPC
`CLIENT-PORT grpc METHOD STATUS`; a call that the client cancelled has status 1.
"""
import subprocess, sys, xml.etree.ElementTree as xml

file, ports = sys.argv[1], sys.argv[2:]
decode = [arg for port in ports for arg in ("-d", f"tcp.port=={port},http2")]
command = ["tshark", "-r", file, *decode, "-Y", "http2", "-T", "pdml"]
pdml = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
streams = {}
for packet in xml.fromstring(pdml).iter("packet"):
    tcp = {field.get("name"): field.get("show") for field in packet.iter("field")}
    asks = tcp["tcp.dstport"] in ports
    client = tcp["tcp.srcport" if asks else "tcp.dstport"]
    for frame in packet.iter("field"):
        if frame.get("name") != "http2.stream":
            continue
        fields = [(field.get("name"), field.get("show")) for field in frame.iter("field")]
        one = dict(fields)
        number = int(one.get("http2.streamid") or 0)
        stream = streams.setdefault((int(client), number), {True: {}, False: {}, "bytes": {True: 0, False: 0}})
        if one.get("http2.type") == "0":
            stream["bytes"][asks] += int(one["http2.length"]) - int(one.get("http2.data.padding_length") or 0)
        if one.get("http2.type") == "3" and asks and one["http2.rst_stream.error"] == "8":
            stream[False].setdefault("grpc-status", "1")
        name = None
        for key, value in fields:
            if key == "http2.header.name":
                name = value
            elif key == "http2.header.value" and not (name == ":status" and value.startswith("1")):
                stream[asks].setdefault(name, value)
for (client, number), stream in sorted(streams.items()):
    request, answer, size = stream[True], stream[False], stream["bytes"]
    if request.get("content-type", "").startswith("application/grpc"):
        print(client, "grpc", request[":path"][1:], answer["grpc-status"])
    elif ":method" in request:
        print(client, request[":method"], request[":path"], answer[":status"], f">{size[True]} <{size[False]}")
