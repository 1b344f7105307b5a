package controlplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// The ports are taken from below the range from which the kernel takes those of outgoing connections (32768 and up on
// Linux): nothing but another server may then take a port between its choice here and its use by a child.
const lowestPort, highestPort = 16000, 32000

// ports are those of one cluster, as kept in its folder: a kubeconfig that was given out stays good over a restart.
type ports struct {
	APIServer  int `json:"apiServer"`
	EtcdClient int `json:"etcdClient"`
	EtcdPeer   int `json:"etcdPeer"`
}

// loadPorts returns the ports in file as far as they are free, and others where they are not.
func loadPorts(file string) (ports, error) {
	var p ports
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if err == nil {
		if err := json.Unmarshal(text, &p); err != nil {
			return p, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	for _, port := range []*int{&p.APIServer, &p.EtcdClient, &p.EtcdPeer} {
		if *port, err = freePort(*port); err != nil {
			return p, err
		}
	}
	text, err = json.Marshal(p)
	if err != nil {
		return p, err
	}
	return p, os.WriteFile(file, text, 0o600)
}

// freePort returns the wanted port where nobody listens on it, and else any that is free. Zero is no wish.
func freePort(wanted int) (int, error) {
	for range 100 {
		if wanted != 0 && isFree(wanted) {
			return wanted, nil
		}
		wanted = lowestPort + rand.IntN(highestPort-lowestPort)
	}
	return 0, fmt.Errorf("no free port between %d and %d on %s after 100 tries", lowestPort, highestPort, loopback)
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
