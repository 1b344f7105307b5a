package provisioner

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// memory is what one loop remembers of the pods of each database. A loop reads what it knew at the beginning of a sync
// and replaces it at the end, so that what was known of pods that are gone goes with them.
type memory[T any] struct {
	mu    sync.Mutex
	known map[types.NamespacedName]map[types.UID]T
}

func (m *memory[T]) recall(database types.NamespacedName) map[types.UID]T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[database]
}

// replace forgets what was known; an empty map of pods forgets the database.
func (m *memory[T]) replace(database types.NamespacedName, pods map[types.UID]T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[types.NamespacedName]map[types.UID]T{}
	}
	m.known[database] = pods
	if len(pods) == 0 {
		delete(m.known, database)
	}
}
