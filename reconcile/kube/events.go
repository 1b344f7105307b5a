package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/gitrota/gitrota/reconcile"
)

// Event implements [reconcile.Cluster]. It only queues; an event that cannot be sent is logged and lost.
func (c *Cluster) Event(_ context.Context, target reconcile.Target, reason, message string) {
	about := involved(target)
	now := metav1.Now()
	c.events.send(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: about.Namespace, GenerateName: about.Name + "."},
		InvolvedObject: about,
		Reason:         truncate(reason, 128), Message: truncate(message, 1024), Type: eventType(reason),
		Source:         corev1.EventSource{Component: "gitrota"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	})
}

// involved is the object that an event is about: the MSSQLServer or, since a document is none, its auth Secret.
func involved(target reconcile.Target) corev1.ObjectReference {
	if target.KubeDB() {
		return corev1.ObjectReference{
			APIVersion: mssqlservers.GroupVersion().String(), Kind: target.Kind,
			Namespace: target.Namespace, Name: target.Name, UID: types.UID(target.UID),
		}
	}
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: target.Namespace, Name: target.AuthSecret.Name}
}

// eventType warns of what ended badly only, so that alerts on warnings mean something.
func eventType(reason string) string {
	switch reason {
	case string(reconcile.PhaseFailed), string(reconcile.PhaseDenied):
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

func truncate(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return text[:bytes-3] + "..."
}

// events sends events one after the other, in the background: a rotation does not wait for them.
type events struct {
	client kubernetes.Interface
	log    *slog.Logger
	done   chan struct{}

	mu     sync.Mutex
	queue  chan *corev1.Event
	closed bool
}

// eventQueue is how many events may wait; more are lost, which is better than a rotation that waits.
const eventQueue = 4096

func startEvents(client kubernetes.Interface, log *slog.Logger) *events {
	e := &events{client: client, log: log, queue: make(chan *corev1.Event, eventQueue), done: make(chan struct{})}
	go e.run()
	return e
}

func (e *events) run() {
	defer close(e.done)
	for event := range e.queue {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if _, err := e.client.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
			e.log.Warn("an event was lost", "reason", event.Reason, "error", err)
		}
		cancel()
	}
}

func (e *events) send(event *corev1.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	select {
	case e.queue <- event:
	default:
		e.log.Warn("an event was lost: too many wait", "reason", event.Reason)
	}
}

func (e *events) close(ctx context.Context) {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.queue)
	}
	e.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
}
