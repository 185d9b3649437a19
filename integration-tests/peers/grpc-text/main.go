// The server of the gRPC-Web-Text peer of ../README.md: grpc-go behind a wrapper that speaks gRPC-Web.
package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/improbable-eng/grpc-web/go/grpcweb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	peer "sidelight/go-peer"
)

const service = "sidelight.test.Echo"

// Messages are bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var seen peer.Counts

func end(method string, code codes.Code) error {
	seen.Add(service+"/"+method, peer.Statuses[code])
	return status.Error(code, "as asked")
}

type ask struct {
	status      codes.Code
	count, size int
}

func parse(message []byte) (a ask) {
	fmt.Sscanf(string(message), "%d %d %d", &a.status, &a.count, &a.size)
	return a
}

func unary(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message []byte
	peer.Check(decode(&message))
	a := parse(message)
	reply := make([]byte, a.size)
	return &reply, end("Unary", a.status)
}

func serverStream(_ any, stream grpc.ServerStream) error {
	var message []byte
	peer.Check(stream.RecvMsg(&message))
	a := parse(message)
	reply := make([]byte, a.size)
	for range a.count {
		peer.Check(stream.SendMsg(&reply))
	}
	return end("ServerStream", a.status)
}

func missing(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return end(method[strings.LastIndex(method, "/")+1:], codes.Unimplemented)
}

func serve(port string) {
	encoding.RegisterCodecV2(raw{})
	server := grpc.NewServer(grpc.UnknownServiceHandler(missing))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
		Streams:     []grpc.StreamDesc{{StreamName: "ServerStream", Handler: serverStream, ServerStreams: true}},
	}, nil)
	peer.UntilAsked(func() error { return http.ListenAndServe("127.0.0.1:"+port, grpcweb.WrapServer(server)) })
	seen.Print()
}

func main() { peer.Main(serve, nil) }
