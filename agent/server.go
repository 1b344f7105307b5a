package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server is an HTTP listener. Its methods do nothing when it is nil.
type server struct {
	listener net.Listener
	http     *http.Server
}

func listen(address string, handler http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &server{listener: listener, http: &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 64 << 10,
	}}, nil
}

// status answers probes and scrapes, and those who wait for a commit.
func status(m *metrics, p *progress) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		why := m.unready.Load()
		switch {
		case why != nil:
			http.Error(w, *why, http.StatusServiceUnavailable)
			return
		case !m.ready.Load() && !m.standby.Load():
			http.Error(w, "the repository was not read yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	p.register(mux)
	return mux
}

// addr is where it listens; empty if s is nil.
func (s *server) addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// serve returns when the server is closed.
func (s *server) serve() {
	if s != nil {
		_ = s.http.Serve(s.listener)
	}
}

func (s *server) close(ctx context.Context) {
	if s != nil {
		_ = s.http.Shutdown(ctx)
	}
}
