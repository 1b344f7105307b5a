package podrunner

import (
	"math/rand/v2"
	"net/netip"
	"sync"
)

// addresses hands out loopback addresses, one for each pod. Several devclusters may run on one machine without knowing
// of each other, so each begins somewhere else; an address on which a server cannot listen is passed over by asking
// for the next.
type addresses struct {
	mu    sync.Mutex
	last  netip.Addr
	taken map[netip.Addr]bool
}

// newAddresses begins at a random place in 127.0.0.0/8, away from 127.0.0.x and 127.0.1.x, where other programs are.
func newAddresses() *addresses {
	return &addresses{
		last:  netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), 0}),
		taken: map[netip.Addr]bool{},
	}
}

// take returns an address that no other pod has. Addresses come in turn, so that one that was given back is not
// given out again soon: a client that still uses it meets silence, and not another pod.
func (a *addresses) take() netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		a.last = after(a.last)
		if !a.taken[a.last] {
			a.taken[a.last] = true
			return a.last
		}
	}
}

// giveBack makes an address free. The zero address is none.
func (a *addresses) giveBack(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, address)
}

// after is the next address for a pod. The last byte is neither 0 nor 255, and the second one not 0.
func after(address netip.Addr) netip.Addr {
	b := address.As4()
	if b[3]++; b[3] == 255 {
		b[3] = 1
		if b[2]++; b[2] == 0 {
			if b[1]++; b[1] == 255 {
				b[1] = 1
			}
		}
	}
	return netip.AddrFrom4(b)
}
