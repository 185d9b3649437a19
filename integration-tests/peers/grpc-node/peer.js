// The gRPC peer of ../README.md on @grpc/grpc-js. A call of a missing method is answered by the library, unseen by this server's counts.
'use strict';
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');

const SERVICE = 'sidelight.test.Echo';
const NAMES = Object.fromEntries(Object.entries(grpc.status).filter(([name]) => isNaN(name)).map(([name, code]) => [code, name]));
const same = bytes => bytes;
const method = (name, requestStream, responseStream) => ({
  path: `/${SERVICE}/${name}`, requestStream, responseStream,
  requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
});
const METHODS = {
  Unary: method('Unary', false, false),
  Missing: method('Missing', false, false),
  ServerStream: method('ServerStream', false, true),
  ClientStream: method('ClientStream', true, false),
  BidiStream: method('BidiStream', true, true),
};

const counts = {};
const count = (name, code) => { const key = `${SERVICE}/${name} ${NAMES[code]}`; counts[key] = (counts[key] || 0) + 1; };
const print = () => console.log(JSON.stringify(counts));

const message = (ask, padding = 0) =>
  Buffer.concat([Buffer.from(`${ask.status || 0} ${ask.count || 0} ${ask.size || 0} ${ask.delay || 0} `), Buffer.alloc(padding)]);
const parse = bytes => {
  const [status, count, size, delay] = bytes.subarray(0, 64).toString('latin1').split(' ').map(Number);
  return { status, count, size, delay };
};
const asked = code => Object.assign(new Error('as asked'), { code, details: 'as asked' });

// Calls `then(cancelled)` after the delay, or when the call ends first; once.
function wait(ask, call, then) {
  if (!ask.delay) return then(call.cancelled);
  const timer = setTimeout(() => { call.removeListener('cancelled', ended); then(false); }, ask.delay);
  const ended = () => { clearTimeout(timer); then(true); };
  call.once('cancelled', ended);
}

function serve(options) {
  const server = new grpc.Server();
  const { Missing, ...methods } = METHODS;
  const reply = (name, ask, cancelled, callback) => {
    const code = cancelled ? grpc.status.CANCELLED : ask.status;
    count(name, code);
    if (code) callback(asked(code)); else callback(null, Buffer.alloc(ask.size));
  };
  const end = (name, ask, cancelled, call) => {
    const code = cancelled ? grpc.status.CANCELLED : ask.status;
    count(name, code);
    if (code) call.emit('error', asked(code)); else call.end();
  };
  server.addService(methods, {
    Unary(call, callback) {
      const ask = parse(call.request);
      wait(ask, call, cancelled => reply('Unary', ask, cancelled, callback));
    },
    ServerStream(call) {
      const ask = parse(call.request);
      for (let i = 0; i < ask.count; i++) call.write(Buffer.alloc(ask.size));
      wait(ask, call, cancelled => end('ServerStream', ask, cancelled, call));
    },
    ClientStream(call, callback) {
      let ask;
      call.on('data', bytes => { ask = parse(bytes); });
      call.on('end', () => reply('ClientStream', ask, false, callback));
    },
    BidiStream(call) {
      let ask;
      call.on('data', bytes => { ask = parse(bytes); call.write(Buffer.alloc(ask.size)); });
      call.on('end', () => end('BidiStream', ask, false, call));
    },
  });
  server.bindAsync(`127.0.0.1:${options.port}`, grpc.ServerCredentials.createInsecure(), error => { if (error) throw error; });
  process.once('SIGTERM', () => { server.forceShutdown(); print(); process.exit(0); });
}

// One call; resolves when it has ended.
function call(client, name, ask, metadata, { up = 1, padding = 0, deadline, cancelled = false } = {}) {
  return new Promise(resolve => {
    const bytes = message(ask, padding);
    const options = deadline ? { deadline: Date.now() + deadline } : {};
    const done = error => { count(name, error ? error.code : 0); resolve(); };
    switch (name) {
      case 'ClientStream': {
        const stream = client[name](metadata, options, done);
        for (let i = 0; i < up; i++) stream.write(bytes);
        return stream.end();
      }
      case 'ServerStream': {
        const stream = client[name](bytes, metadata, options);
        stream.on('data', () => { if (cancelled) stream.cancel(); });
        stream.on('error', () => {});
        return stream.on('status', status => done(status.code ? status : null));
      }
      case 'BidiStream': {
        const stream = client[name](metadata, options);
        let sent = 1;
        stream.write(bytes);
        stream.on('data', () => { if (sent++ < up) stream.write(bytes); else stream.end(); });
        stream.on('error', () => {});
        return stream.on('status', status => done(status.code ? status : null));
      }
      default:
        return client[name](bytes, metadata, options, done);
    }
  });
}

function work(client, options, i) {
  const metadata = new grpc.Metadata();
  if (options.trace) metadata.set('traceparent', `00-${(i + 1).toString(16).padStart(32, '0')}-${(i + 1).toString(16).padStart(16, '0')}-01`);
  const size = i * 37 % 3000, round = Math.floor(i / 10);
  switch (options.work || 'mix') {
    case 'unary': return call(client, 'Unary', { size: 10 }, metadata);
    case 'large': return call(client, 'Unary', { size: 150000 }, metadata, { padding: 60000 });
    case 'huge': return call(client, 'Unary', { size: 3000000 }, metadata, { padding: 3000000 });
    case 'deadline': return call(client, 'Unary', { delay: 60000 }, metadata, { deadline: 1000 });
    case 'slow': return call(client, 'ServerStream', { count: 2, size: 10, delay: 100 }, metadata);
    case 'cancel': return call(client, 'ServerStream', { count: 1, size: 10, delay: 60000 }, metadata, { cancelled: true });
  }
  switch (i % 10) {
    case 5: return call(client, 'Unary', { status: [5, 13, 7, 3, 16][round % 5], size }, metadata);
    case 6: return call(client, 'ServerStream', { count: round % 4, size }, metadata);
    case 7: return call(client, 'ClientStream', { size }, metadata, { up: 1 + round % 4 });
    case 8: return call(client, 'BidiStream', { status: round % 3 === 0 ? 10 : 0, size }, metadata, { up: 1 + round % 4 });
    case 9: return round % 2 === 0
      ? call(client, 'Missing', { size }, metadata)
      : call(client, 'ServerStream', { status: 8, count: 2, size }, metadata);
    default: return call(client, 'Unary', { size }, metadata);
  }
}

// Until a named pipe gives a byte.
async function pipe(path) {
  const file = await fs.promises.open(path);
  await file.read(Buffer.alloc(1));
  await file.close();
}

async function load(options) {
  const Client = grpc.makeGenericClientConstructor(METHODS, SERVICE);
  const client = new Client(`127.0.0.1:${options.port}`, grpc.credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
  // the time of a first call would else begin before there is a connection
  await new Promise((resolve, reject) => client.waitForReady(Date.now() + 20000, error => error ? reject(error) : resolve()));
  let next = 0;
  const run = async until => {
    const one = async () => {
      while (!(options.stop && fs.existsSync(options.stop)) && next < until) await work(client, options, next++);
    };
    await Promise.all(Array.from({ length: Number(options.streams || 1) }, one));
  };
  if (options.first) {
    await run(Number(options.first));
    console.log('waiting');
    await pipe(options.go);
  }
  await run(Number(options.calls || 1));
  if (options.hold) await pipe(options.hold);
  client.close();
  print();
}

const options = Object.fromEntries(process.argv.slice(3).map(word => word.split(/=(.*)/s).slice(0, 2)));
if (process.argv[2] === 'server') serve(options); else load(options);
