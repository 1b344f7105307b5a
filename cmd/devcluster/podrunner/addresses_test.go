package podrunner

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddresses(t *testing.T) {
	t.Run("every pod has one of its own, on the loopback", func(t *testing.T) {
		a := newAddresses()
		seen := map[netip.Addr]bool{}
		for range 1000 {
			address := a.take()
			require.True(t, address.IsLoopback())
			require.False(t, seen[address], "%s was given twice", address)
			seen[address] = true
		}
	})
	t.Run("one that was given back is not given again at once", func(t *testing.T) {
		a := newAddresses()
		address := a.take()
		a.giveBack(address)
		require.NotEqual(t, address, a.take())
	})
	t.Run("after the last one comes the first, past those that are in use", func(t *testing.T) {
		a := newAddresses()
		a.last = netip.MustParseAddr("127.254.255.254")
		a.taken[netip.MustParseAddr("127.1.0.1")] = true
		require.Equal(t, "127.1.0.2", a.take().String())
	})
	for from, to := range map[string]string{
		"127.5.6.7":       "127.5.6.8",
		"127.5.6.254":     "127.5.7.1",
		"127.5.255.254":   "127.6.0.1",
		"127.254.255.254": "127.1.0.1",
	} {
		require.Equal(t, to, after(netip.MustParseAddr(from)).String(), "after %s", from)
	}
}
