package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server answers probes and scrapes.
type server struct {
	listener net.Listener
	http     *http.Server
}

func listen(address string, m *metrics) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready.Load() && !m.standby.Load() {
			http.Error(w, "the repository was not read yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return &server{listener: listener, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
	}}, nil
}

func (s *server) addr() string { return s.listener.Addr().String() }

// serve returns when the server is closed.
func (s *server) serve() { _ = s.http.Serve(s.listener) }

func (s *server) close(ctx context.Context) { _ = s.http.Shutdown(ctx) }
