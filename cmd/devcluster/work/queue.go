// Package work is the loop of a controller: it runs a function for each object that something happened to.
package work

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// A failed key is tried again after firstRetry, then after twice as long each time, up to lastRetry.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Sync brings one object to where it should be. It wants to be run again after the given time, zero being not before
// something happens to the object. An error is retried, and logged when it is another one than the last time.
type Sync func(ctx context.Context, key types.NamespacedName) (again time.Duration, err error)

// Queue runs a Sync for the keys that were added. It never runs it twice at a time for one key.
type Queue struct {
	name  string
	sync  Sync
	log   *slog.Logger
	queue workqueue.TypedRateLimitingInterface[types.NamespacedName]
	said  sync.Map // by key: the text of the error that was logged last
}

// NewQueue returns a queue. The name says in the log whose it is.
func NewQueue(name string, sync Sync, log *slog.Logger) *Queue {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, lastRetry)
	return &Queue{name: name, sync: sync, log: log, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// Add has the key run soon.
func (q *Queue) Add(key types.NamespacedName) { q.queue.Add(key) }

// Watch adds the keys that keysOf finds for each object that an informer sees come, change or go. A nil keysOf finds
// the object's own key.
func (q *Queue) Watch(informer cache.SharedIndexInformer, keysOf func(metav1.Object) []types.NamespacedName) error {
	if keysOf == nil {
		keysOf = func(object metav1.Object) []types.NamespacedName {
			return []types.NamespacedName{{Namespace: object.GetNamespace(), Name: object.GetName()}}
		}
	}
	add := func(event any) {
		if gone, ok := event.(cache.DeletedFinalStateUnknown); ok {
			event = gone.Obj
		}
		if object, ok := event.(metav1.Object); ok {
			for _, key := range keysOf(object) {
				q.Add(key)
			}
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, object any) { add(object) },
		DeleteFunc: add,
	})
	return err
}

// Run works until ctx ends and then returns when the last sync has.
func (q *Queue) Run(ctx context.Context, workers int) {
	stop := context.AfterFunc(ctx, q.queue.ShutDown)
	defer stop()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for q.next(ctx) {
			}
		})
	}
	all.Wait()
}

func (q *Queue) next(ctx context.Context) bool {
	key, shutdown := q.queue.Get()
	if shutdown {
		return false
	}
	defer q.queue.Done(key)
	again, err := q.sync(ctx, key)
	switch {
	case ctx.Err() != nil, // what failed, failed because of that
		errors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // soon there is nothing left to be done
	case err != nil:
		q.complain(key, err)
		q.queue.AddRateLimited(key)
		return true
	case again > 0:
		q.queue.AddAfter(key, again)
	}
	q.said.Delete(key)
	q.queue.Forget(key)
	return true
}

// complain logs an error once, and not at all that somebody else was quicker, as is usual among controllers.
func (q *Queue) complain(key types.NamespacedName, err error) {
	if last, _ := q.said.Load(key); last == err.Error() || errors.IsConflict(err) {
		return
	}
	q.said.Store(key, err.Error())
	q.log.Warn("cannot "+q.name, "object", key.String(), "error", err)
}
