module sidelight/go-peer

go 1.25.0
