// The Connect and gRPC-Web peer of ../README.md on connect-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect"

	peer "sidelight/go-peer"
)

const service = "sidelight.test.Echo"

// Messages are bytes as they are.
type raw struct{}

func (raw) Name() string                        { return "proto" }
func (raw) IsBinary() bool                      { return true }
func (raw) Marshal(v any) ([]byte, error)       { return *v.(*[]byte), nil }
func (raw) MarshalStable(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

var seen peer.Counts

// The status is named as the protocol names it.
func count(protocol, method string, err error) error {
	name := "ok"
	if err != nil {
		name = connect.CodeOf(err).String()
	}
	if protocol != connect.ProtocolConnect {
		name = strings.Replace(strings.ToUpper(name), "CANCELED", "CANCELLED", 1)
	}
	seen.Add(service+"/"+method, name)
	return err
}

type ask struct{ status, count, size int }

func (a ask) message(padding int) *[]byte {
	text := fmt.Appendf(nil, "%d %d %d 0 ", a.status, a.count, a.size)
	text = append(text, make([]byte, padding)...)
	return &text
}

func parse(message []byte) (a ask) {
	fmt.Sscanf(string(message[:min(len(message), 64)]), "%d %d %d", &a.status, &a.count, &a.size)
	return a
}

// Bytes that gzip does not make shorter.
func (a ask) reply() *[]byte {
	reply := make([]byte, a.size)
	state := uint64(a.size) + 1
	for i := range reply {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		reply[i] = byte(state)
	}
	return &reply
}

func (a ask) end() error {
	if a.status == 0 {
		return nil
	}
	return connect.NewError(connect.Code(a.status), errors.New("as asked"))
}

func unary(method string) func(context.Context, *connect.Request[[]byte]) (*connect.Response[[]byte], error) {
	return func(_ context.Context, request *connect.Request[[]byte]) (*connect.Response[[]byte], error) {
		a := parse(*request.Msg)
		if err := count(request.Peer().Protocol, method, a.end()); err != nil {
			return nil, err
		}
		return connect.NewResponse(a.reply()), nil
	}
}

func serverStream(_ context.Context, request *connect.Request[[]byte], stream *connect.ServerStream[[]byte]) error {
	a := parse(*request.Msg)
	for range a.count {
		if err := stream.Send(a.reply()); err != nil {
			return err
		}
	}
	return count(request.Peer().Protocol, "ServerStream", a.end())
}

func clientStream(_ context.Context, stream *connect.ClientStream[[]byte]) (*connect.Response[[]byte], error) {
	var a ask
	for stream.Receive() {
		a = parse(*stream.Msg())
	}
	err := stream.Err()
	if err == nil {
		err = a.end()
	}
	if count(stream.Peer().Protocol, "ClientStream", err) != nil {
		return nil, err
	}
	return connect.NewResponse(a.reply()), nil
}

func protocols(version string) *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version != "2")
	protocols.SetUnencryptedHTTP2(version != "1")
	return protocols
}

func serve(port string) {
	mux := http.NewServeMux()
	codec := connect.WithCodec(raw{})
	at := func(method string, handler http.Handler) { mux.Handle("/"+service+"/"+method, handler) }
	at("Unary", connect.NewUnaryHandler("/"+service+"/Unary", unary("Unary"), codec))
	at("Read", connect.NewUnaryHandler("/"+service+"/Read", unary("Read"), codec, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	at("ServerStream", connect.NewServerStreamHandler("/"+service+"/ServerStream", serverStream, codec))
	at("ClientStream", connect.NewClientStreamHandler("/"+service+"/ClientStream", clientStream, codec))
	mux.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		protocol := connect.ProtocolConnect
		if strings.HasPrefix(request.Header.Get("Content-Type"), "application/grpc") {
			protocol = connect.ProtocolGRPCWeb
		}
		method := request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:]
		count(protocol, method, connect.NewError(connect.CodeUnimplemented, errors.New("no such method")))
		http.NotFound(response, request)
	})
	server := http.Server{Addr: "127.0.0.1:" + port, Handler: mux, Protocols: protocols("")}
	peer.UntilAsked(server.ListenAndServe)
	seen.Print()
}

type client struct {
	protocol                       string
	unary, read, missing, down, up *connect.Client[[]byte, []byte]
}

func dial(options peer.Options) *client {
	streams := options.Number("streams", 1)
	transport := &http.Transport{MaxConnsPerHost: streams, MaxIdleConnsPerHost: streams, Protocols: protocols(options["http"])}
	with := []connect.ClientOption{connect.WithCodec(raw{})}
	protocol := connect.ProtocolConnect
	switch options["protocol"] {
	case "grpcweb":
		protocol, with = connect.ProtocolGRPCWeb, append(with, connect.WithGRPCWeb())
	case "grpc":
		protocol, with = connect.ProtocolGRPC, append(with, connect.WithGRPC())
	}
	switch options["gzip"] {
	case "both":
		with = append(with, connect.WithSendGzip())
	case "none":
		with = append(with, connect.WithAcceptCompression("gzip", nil, nil))
	}
	to := func(method string, more ...connect.ClientOption) *connect.Client[[]byte, []byte] {
		url := "http://127.0.0.1:" + options["port"] + "/" + service + "/" + method
		return connect.NewClient[[]byte, []byte](&http.Client{Transport: transport}, url, append(more, with...)...)
	}
	read := to("Read", connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	return &client{protocol, to("Unary"), read, to("Missing"), to("ServerStream"), to("ClientStream")}
}

func (c *client) call(to *connect.Client[[]byte, []byte], method, trace string, a ask, padding int) {
	request := connect.NewRequest(a.message(padding))
	mark(request.Header(), trace)
	_, err := to.CallUnary(context.Background(), request)
	count(c.protocol, method, err)
}

func (c *client) stream(trace string, a ask) {
	request := connect.NewRequest(a.message(0))
	mark(request.Header(), trace)
	stream, err := c.down.CallServerStream(context.Background(), request)
	if err == nil {
		for stream.Receive() {
		}
		err = stream.Err()
		stream.Close()
	}
	count(c.protocol, "ServerStream", err)
}

func (c *client) send(trace string, a ask, up int) {
	stream := c.up.CallClientStream(context.Background())
	mark(stream.RequestHeader(), trace)
	for range up {
		// what went wrong is said by the answer
		if stream.Send(a.message(0)) != nil {
			break
		}
	}
	_, err := stream.CloseAndReceive()
	count(c.protocol, "ClientStream", err)
}

func mark(header http.Header, trace string) {
	if trace != "" {
		header.Set("traceparent", trace)
	}
}

func (c *client) work(name string, i int, trace string) {
	a, round := ask{size: i * 37 % 3000}, i/10
	if name == "large" {
		a.size = 150_000
		if a.count = 3; i%2 == 0 {
			c.stream(trace, a)
		} else {
			c.call(c.unary, "Unary", trace, a, 60_000)
		}
		return
	}
	switch i % 10 {
	case 4:
		c.call(c.read, "Read", trace, a, 0)
	case 5:
		a.status = []int{5, 13, 7, 3, 16}[round%5]
		c.call(c.unary, "Unary", trace, a, 0)
	case 6:
		a.count = round % 4
		c.stream(trace, a)
	case 7:
		c.send(trace, a, 1+round%4)
	case 8:
		if round%3 == 0 {
			a.status = 10
		}
		c.send(trace, a, 1+round%4)
	case 9:
		if round%2 == 0 {
			c.call(c.missing, "Missing", trace, a, 0)
		} else {
			a.status, a.count = 8, 2
			c.stream(trace, a)
		}
	default:
		c.call(c.unary, "Unary", trace, a, 0)
	}
}

func load(options peer.Options) {
	c := dial(options)
	calls := int64(options.Number("calls", 1))
	var next atomic.Int64
	var group sync.WaitGroup
	for range options.Number("streams", 1) {
		group.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= calls {
					return
				}
				trace := ""
				if options["trace"] != "" {
					trace = fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)
				}
				c.work(options["work"], int(i), trace)
			}
		})
	}
	group.Wait()
	seen.Print()
}

func main() { peer.Main(serve, load) }
