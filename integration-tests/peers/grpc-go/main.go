// The gRPC peer of ../README.md on grpc-go.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	peer "sidelight/go-peer"
)

const service = "sidelight.test.Echo"

// Messages are bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func count(seen *peer.Counts, method string, err error) {
	seen.Add(strings.TrimPrefix(method, "/"), peer.Statuses[status.Code(err)])
}

type ask struct{ status, count, size, delay int }

func (a ask) message(padding int) *[]byte {
	text := fmt.Appendf(nil, "%d %d %d %d ", a.status, a.count, a.size, a.delay)
	text = append(text, make([]byte, padding)...)
	return &text
}

func parse(message []byte) (a ask) {
	fmt.Sscanf(string(message[:min(len(message), 64)]), "%d %d %d %d", &a.status, &a.count, &a.size, &a.delay)
	return a
}

func (a ask) reply() *[]byte { reply := make([]byte, a.size); return &reply }

func (a ask) end() error {
	if a.status == 0 {
		return nil
	}
	return status.Error(codes.Code(a.status), "as asked")
}

func (a ask) wait(ctx context.Context) error {
	if a.delay == 0 {
		return nil
	}
	select {
	case <-time.After(time.Duration(a.delay) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message []byte
	if err := decode(&message); err != nil {
		return nil, err
	}
	a := parse(message)
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	return a.reply(), a.end()
}

func serverStream(stream grpc.ServerStream) error {
	var message []byte
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	a := parse(message)
	for range a.count {
		if err := stream.SendMsg(a.reply()); err != nil {
			return err
		}
	}
	if err := a.wait(stream.Context()); err != nil {
		return err
	}
	return a.end()
}

// Reads every message; answers each, or only the last.
func readAll(stream grpc.ServerStream, each bool) error {
	var a ask
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		a = parse(message)
		if each {
			if err := stream.SendMsg(a.reply()); err != nil {
				return err
			}
		}
	}
	if !each && a.status == 0 {
		if err := stream.SendMsg(a.reply()); err != nil {
			return err
		}
	}
	return a.end()
}

func serve(port string) {
	var seen peer.Counts
	counted := func(method string, handle func(grpc.ServerStream) error) grpc.StreamHandler {
		return func(_ any, stream grpc.ServerStream) error {
			err := handle(stream)
			name := method
			if name == "" {
				name, _ = grpc.MethodFromServerStream(stream)
			}
			count(&seen, name, err)
			return err
		}
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(counted("", func(grpc.ServerStream) error {
		return status.Error(codes.Unimplemented, "no such method")
	})))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(s any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
			reply, err := unary(s, ctx, decode, i)
			count(&seen, service+"/Unary", err)
			return reply, err
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "ServerStream", ServerStreams: true, Handler: counted(service+"/ServerStream", serverStream)},
			{StreamName: "ClientStream", ClientStreams: true, Handler: counted(service+"/ClientStream", func(s grpc.ServerStream) error { return readAll(s, false) })},
			{StreamName: "BidiStream", ClientStreams: true, ServerStreams: true, Handler: counted(service+"/BidiStream", func(s grpc.ServerStream) error { return readAll(s, true) })},
		},
	}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	peer.Check(err)
	peer.UntilAsked(func() error { return server.Serve(listener) })
	server.Stop()
	seen.Print()
}

type client struct {
	conn *grpc.ClientConn
	seen peer.Counts
}

// One call: `up` request messages, all the answers.
func (c *client) call(ctx context.Context, method string, a ask, up, padding int, cancelled bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	method = service + "/" + method
	if method == service+"/Unary" || method == service+"/Missing" {
		var reply []byte
		count(&c.seen, method, c.conn.Invoke(ctx, "/"+method, a.message(padding), &reply))
		return
	}
	desc := grpc.StreamDesc{ServerStreams: method != service+"/ClientStream", ClientStreams: method != service+"/ServerStream"}
	count(&c.seen, method, func() error {
		stream, err := c.conn.NewStream(ctx, &desc, "/"+method)
		if err != nil {
			return err
		}
		var reply []byte
		for range up {
			if err := stream.SendMsg(a.message(padding)); err != nil && err != io.EOF {
				return err
			}
			if method == service+"/BidiStream" {
				if err := stream.RecvMsg(&reply); err != nil {
					return err
				}
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		for {
			if err := stream.RecvMsg(&reply); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if cancelled {
				cancel()
			}
			if !desc.ServerStreams {
				// the only answer: RecvMsg has read the status too
				return nil
			}
		}
	}())
}

func (c *client) work(name string, i int, ctx context.Context) {
	a, round := ask{size: i * 37 % 3000}, i/10
	switch name {
	case "unary":
		c.call(ctx, "Unary", ask{size: 10}, 1, 0, false)
		return
	case "large":
		c.call(ctx, "Unary", ask{size: 150_000}, 1, 60_000, false)
		return
	case "huge":
		c.call(ctx, "Unary", ask{size: 3_000_000}, 1, 3_000_000, false)
		return
	case "deadline":
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c.call(ctx, "Unary", ask{delay: 60_000}, 1, 0, false)
		return
	case "slow":
		c.call(ctx, "ServerStream", ask{count: 2, size: 10, delay: 100}, 1, 0, false)
		return
	case "cancel":
		c.call(ctx, "ServerStream", ask{count: 1, size: 10, delay: 60_000}, 1, 0, true)
		return
	}
	switch i % 10 {
	case 5:
		a.status = []int{5, 13, 7, 3, 16}[round%5]
		c.call(ctx, "Unary", a, 1, 0, false)
	case 6:
		a.count = round % 4
		c.call(ctx, "ServerStream", a, 1, 0, false)
	case 7:
		c.call(ctx, "ClientStream", a, 1+round%4, 0, false)
	case 8:
		if round%3 == 0 {
			a.status = 10
		}
		c.call(ctx, "BidiStream", a, 1+round%4, 0, false)
	case 9:
		if round%2 == 0 {
			c.call(ctx, "Missing", a, 1, 0, false)
		} else {
			a.status, a.count = 8, 2
			c.call(ctx, "ServerStream", a, 1, 0, false)
		}
	default:
		c.call(ctx, "Unary", a, 1, 0, false)
	}
}

// The time of a first call would else begin before there is a connection.
func connect(conn *grpc.ClientConn) {
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		conn.WaitForStateChange(context.Background(), state)
	}
}

// Until a named pipe gives a byte.
func wait(path string) {
	pipe, err := os.Open(path)
	peer.Check(err)
	_, err = pipe.Read(make([]byte, 1))
	peer.Check(err)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func load(options peer.Options) {
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+options["port"], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})), grpc.WithNoProxy())
	peer.Check(err)
	connect(conn)
	c := &client{conn: conn}
	var next atomic.Int64
	var stopped atomic.Bool
	run := func(until int) {
		var group sync.WaitGroup
		for range options.Number("streams", 1) {
			group.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					// a system call for each would be a load of its own
					if i%64 == 0 && options["stop"] != "" && exists(options["stop"]) {
						stopped.Store(true)
					}
					if i >= until || stopped.Load() {
						return
					}
					ctx := context.Background()
					if options["trace"] != "" {
						ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", fmt.Sprintf("00-%032x-%016x-01", i+1, i+1))
					}
					c.work(options["work"], i, ctx)
				}
			})
		}
		group.Wait()
		next.Store(int64(until))
	}
	if first := options["first"]; first != "" {
		run(options.Number("first", 0))
		fmt.Println("waiting")
		wait(options["go"])
	}
	run(options.Number("calls", 1))
	if pipe := options["hold"]; pipe != "" {
		wait(pipe)
	}
	conn.Close()
	c.seen.Print()
}

func main() { peer.Main(serve, load) }
