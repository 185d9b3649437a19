// Package peer is what the Go peers of ../README.md share: their command line and their counts.
package peer

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
)

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
