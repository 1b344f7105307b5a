package gittest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
)

// Fault stands before the HTTP server and may do anything to a request, such as hand it on to next or not.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Break puts a fault before the HTTP server; nil heals it.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Stall answers nothing until the client gives up.
func (s *Server) Stall(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
}

// Status answers every request with an HTTP status, and asks for 30 seconds of rest.
func Status(code int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "30")
		http.Error(w, http.StatusText(code), code)
	}
}

// Cut closes the connection in place of an answer.
func Cut(_ http.ResponseWriter, _ *http.Request, _ http.Handler) { panic(http.ErrAbortHandler) }

// OnPush applies a fault to the request that carries a push, and to no other.
func OnPush(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// LoseAnswer does what the request asks for and then closes the connection in place of the answer.
func LoseAnswer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// StallAnswer does what the request asks for and then says nothing.
func (s *Server) StallAnswer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	// The server notices that a client has gone only when all of its request was read.
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	next.ServeHTTP(httptest.NewRecorder(), r)
	s.Stall(w, r, next)
}

// CutRequest closes the connection in the middle of the request.
func CutRequest(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
	panic(http.ErrAbortHandler)
}

// RedirectTo sends every request elsewhere, data included.
func RedirectTo(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, url+r.URL.Path, http.StatusTemporaryRedirect)
	}
}

// Before runs do and then answers as always.
func Before(do func()) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		do()
		next.ServeHTTP(w, r)
	}
}
