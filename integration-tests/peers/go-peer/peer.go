// Package peer is what the Go peers of ../README.md share: their command line, their counts, their end.
package peer

import (
	"encoding/json"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Statuses are gRPC's names of its status codes, which its Go library spells otherwise.
var Statuses = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// Counts says how often each METHOD STATUS happened.
type Counts struct {
	sync.Mutex
	of map[string]int
}

// Add counts one.
func (c *Counts) Add(method, status string) {
	c.Lock()
	defer c.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[method+" "+status]++
}

// Print writes them as JSON.
func (c *Counts) Print() {
	c.Lock()
	defer c.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	Check(json.NewEncoder(os.Stdout).Encode(c.of))
}

// Check ends the program at an error.
func Check(err error) {
	if err != nil {
		panic(err)
	}
}

// UntilAsked serves until SIGTERM.
func UntilAsked(serve func() error) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() { Check(serve()) }()
	<-ended
}

// Options are the words KEY=VALUE of the command line.
type Options map[string]string

// Number is an option's, or `otherwise`.
func (o Options) Number(key string, otherwise int) int {
	if o[key] == "" {
		return otherwise
	}
	n, err := strconv.Atoi(o[key])
	Check(err)
	return n
}

// Main is server or client, by the first word of the command line.
func Main(serve func(port string), load func(Options)) {
	options := Options{}
	for _, word := range os.Args[2:] {
		key, value, _ := strings.Cut(word, "=")
		options[key] = value
	}
	if os.Args[1] == "server" {
		serve(options["port"])
	} else {
		load(options)
	}
}
