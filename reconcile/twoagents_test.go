package reconcile_test

import (
	"math/rand/v2"

	"github.com/gitrota/gitrota/reconcile"
)

// playTwo lets two agents serve the same request. A seed decides at every call whose turn it is, and who is killed when.
func playTwo(m mode, n uint64, alter func(*incarnation) reconcile.Cluster) (*simulation, []reconcile.Status) {
	world := begin(m)
	random := rand.New(rand.NewPCG(n, 11))
	statuses := make([]reconcile.Status, 2)
	turns := make([]chan struct{}, 2) // a value is one call
	yields := make(chan int)          // an agent waits for its turn
	ended := make(chan int)
	for a := range statuses {
		turns[a] = make(chan struct{})
		kill := 1 + random.IntN(2*callsOf(m)) // often never
		go func() {
			defer func() { ended <- a }()
			for life := uint64(0); !statuses[a].Phase.Finished() && life < 5; life++ {
				calls := 0
				i := &incarnation{world: world, at: func(int) mishap {
					if calls++; life == 0 && calls == kill {
						return dieAfter
					}
					return nothing
				}}
				i.turn = func() {
					yields <- a
					<-turns[a]
				}
				statuses[a] = i.serve(10*uint64(a)+life, job(m), alter)
			}
		}()
	}
	// Only when every agent that still runs waits for its turn is one of them given it: nothing is left to chance.
	running, waiting := 2, map[int]bool{}
	for running > 0 {
		for len(waiting) < running {
			select {
			case a := <-yields:
				waiting[a] = true
			case <-ended:
				running--
			}
		}
		if running == 0 {
			break
		}
		a := random.IntN(2)
		if !waiting[a] {
			a = 1 - a
		}
		delete(waiting, a)
		turns[a] <- struct{}{}
	}
	return world, statuses
}
