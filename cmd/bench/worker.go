package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// workerCommand is the first argument of a process that is measured: this program again.
const workerCommand = "worker"

// worker is a client in a process of its own, which begins with the first thing that it is asked to do. What that
// costs includes the beginning of the process.
type worker struct {
	name, url, dir string
	profiles       string // folder for profiles; "" means none

	process *exec.Cmd
	ask     io.WriteCloser
	answers *json.Decoder
	cpu     time.Duration // that it had used after the last step
}

// reply is what a worker answers to a step, one line of JSON for each.
type reply struct {
	Result result
	CPU    time.Duration // since the process began
	Error  string
}

func (w *worker) folder() string { return w.dir }

func (w *worker) do(ctx context.Context, s step) (result, error) {
	begun := time.Now()
	if w.process == nil {
		if err := w.start(ctx); err != nil {
			return result{}, err
		}
	}
	if err := json.NewEncoder(w.ask).Encode(s); err != nil {
		return result{}, fmt.Errorf("asking the worker %s to %s: %w", w.name, s.Do, err)
	}
	var r reply
	if err := w.answers.Decode(&r); err != nil {
		return result{}, fmt.Errorf("the worker %s was to %s and ended: %w", w.name, s.Do, err)
	}
	if r.Error != "" {
		return result{}, fmt.Errorf("%s, asked to %s: %s", w.name, s.Do, r.Error)
	}
	r.Result.Cost.Time = time.Since(begun)
	r.Result.Cost.CPU = r.CPU - w.cpu
	w.cpu = r.CPU
	return r.Result, nil
}

func (w *worker) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.process = exec.CommandContext(ctx, self, workerCommand, w.name, w.url, w.dir, w.profiles)
	w.process.Dir, w.process.Stderr = w.dir, os.Stderr
	w.process.Env = append(gitEnvironment(w.dir), "TMPDIR="+w.dir)
	if w.ask, err = w.process.StdinPipe(); err != nil {
		return err
	}
	output, err := w.process.StdoutPipe()
	if err != nil {
		return err
	}
	w.answers = json.NewDecoder(bufio.NewReader(output))
	return w.process.Start()
}

// close ends the process, which reads from this one and ends with it in any case.
func (w *worker) close() {
	if w.process != nil {
		w.ask.Close()
		_ = w.process.Wait() // it has told all it had to tell
	}
}

// subject is what is measured inside a worker.
type subject interface {
	poll(ctx context.Context) error
	read(ctx context.Context, dirs []string) (tip string, files int, err error)
	update(ctx context.Context) (tip string, files int, err error)
	trace(ctx context.Context, dirs []string) (commit string, err error)
	write(ctx context.Context, number int) (tries int, err error)
}

// workerMain does what comes in over the standard input until that ends.
func workerMain(args []string) int {
	if len(args) != 4 {
		fmt.Fprintln(os.Stderr, "bench: a worker is started by the benchmark and by nobody else")
		return 2
	}
	name, url, dir, profiles := args[0], args[1], args[2], args[3]
	if profiles != "" {
		stop, err := profile(filepath.Join(profiles, fmt.Sprintf("%s-%d", name, os.Getpid())))
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		defer stop()
	}
	s, err := newSubject(name, url, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	asked, answer := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var next step
		if err := asked.Decode(&next); err != nil {
			if errors.Is(err, io.EOF) {
				return 0
			}
			return 1
		}
		if answer.Encode(perform(context.Background(), s, next)) != nil {
			return 1
		}
	}
}

func newSubject(name, url, dir string) (subject, error) {
	switch name {
	case "gitrota":
		return newGitrota(url)
	case "go-git":
		return &goGit{url: url, dir: filepath.Join(dir, "clone")}, nil
	}
	return nil, fmt.Errorf("there is no worker %q", name)
}

func perform(ctx context.Context, s subject, asked step) reply {
	var r reply
	var err error
	switch asked.Do {
	case doPoll:
		begun := time.Now()
		for err == nil && r.Result.Times < asked.Times && (r.Result.Times == 0 || time.Since(begun) < asked.Limit) {
			err = s.poll(ctx)
			r.Result.Times++
		}
	case doRead:
		r.Result.Tip, r.Result.Files, err = s.read(ctx, asked.Dirs)
	case doUpdate:
		r.Result.Tip, r.Result.Files, err = s.update(ctx)
	case doTrace:
		r.Result.Tip, err = s.trace(ctx, asked.Dirs)
	case doWrite:
		limited, cancel := context.WithTimeout(ctx, asked.Limit)
		defer cancel()
		if r.Result.Tries, err = s.write(limited, asked.Number); limited.Err() != nil {
			r.Result.Tries, err = 0, nil
		}
	case doRest:
		debug.FreeOSMemory()
	default:
		err = errors.New("unknown")
	}
	if err == nil {
		r.CPU, err = cpuTime()
	}
	if err == nil {
		r.Result.Cost.Memory, r.Result.Cost.Peak, err = resident()
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// profile records where CPU time goes until stop, which also records what the heap is made of.
func profile(name string) (stop func(), err error) {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		cpu.Close()
		heap, err := os.Create(name + ".heap")
		if err != nil {
			return
		}
		defer heap.Close()
		_ = pprof.WriteHeapProfile(heap)
	}, nil
}
