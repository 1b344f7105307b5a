package kubetest

import (
	"io"
	"sync"
)

// tailSize is how much of a log is kept, in bytes.
const tailSize = 16 << 10

// tail keeps the end of what is written to it.
type tail struct {
	forward io.Writer // gets all of it; nil for nobody

	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	if t.forward != nil {
		return t.forward.Write(text)
	}
	return len(text), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
