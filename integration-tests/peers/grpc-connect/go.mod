module sidelight/peer

go 1.25.0

require connectrpc.com/connect v1.19.1

require google.golang.org/protobuf v1.36.10 // indirect

require sidelight/go-peer v0.0.0

replace sidelight/go-peer => ../go-peer
