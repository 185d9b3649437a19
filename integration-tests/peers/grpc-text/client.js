// The client of the gRPC-Web-Text peer of ../README.md: grpc-web as browsers use it, on an XMLHttpRequest for Node.js.
'use strict';
global.XMLHttpRequest = require('xhr2');
const { GrpcWebClientBase, MethodDescriptor, StatusCode } = require('grpc-web');

const SERVICE = 'sidelight.test.Echo';
const options = Object.fromEntries(process.argv.slice(3).map(word => word.split(/=(.*)/s).slice(0, 2)));
const client = new GrpcWebClientBase({ format: 'text' });
const names = Object.fromEntries(Object.entries(StatusCode).map(([name, code]) => [code, name]));
const seen = {};

function describe(name, kind) {
  const encode = text => new Uint8Array(Buffer.from(text));
  return new MethodDescriptor(`/${SERVICE}/${name}`, kind, Object, Object, encode, bytes => bytes.length);
}

function count(name, code) {
  const call = `${SERVICE}/${name} ${names[code]}`;
  seen[call] = (seen[call] || 0) + 1;
}

function call(i, name, text) {
  const stream = name === 'ServerStream';
  const at = `http://127.0.0.1:${options.port}/${SERVICE}/${name}`;
  const id = (i + 1).toString(16);
  const metadata = options.trace ? { traceparent: `00-${id.padStart(32, '0')}-${id.padStart(16, '0')}-01` } : {};
  const descriptor = describe(name, stream ? 'server_streaming' : 'unary');
  return new Promise(ended => {
    const end = code => { count(name, code); ended(); };
    if (!stream) return client.rpcCall(at, text, metadata, descriptor, error => end(error ? error.code : 0));
    // An error's status comes too, and then the end.
    let code = 0;
    client.serverStreaming(at, text, metadata, descriptor)
      .on('data', () => {})
      .on('error', error => { code = error.code; })
      .on('status', status => { code = status.code; })
      .on('end', () => end(code));
  });
}

function work(i) {
  const round = Math.floor(i / 10), size = i * 37 % 3000;
  switch (i % 10) {
    case 5: return call(i, 'Unary', `${[5, 13, 7, 3, 16][round % 5]} 1 ${size}`);
    case 6: return call(i, 'ServerStream', `0 ${round % 4} ${size}`);
    case 9: return round % 2 ? call(i, 'ServerStream', `8 2 ${size}`) : call(i, 'Missing', '0 1 1');
    default: return call(i, 'Unary', `0 1 ${size}`);
  }
}

let next = 0;
const one = async () => { while (next < Number(options.calls || 1)) await work(next++); };
Promise.all(Array.from({ length: Number(options.streams || 1) }, one)).then(() => console.log(JSON.stringify(seen)));
