package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// agent is a gitrota that is started again whenever it has ended, as a Deployment does. Its methods may be called by
// several goroutines.
type agent struct {
	command []string
	logFile string

	mu      sync.Mutex
	process *os.Process // nil while there is none
	stopped bool        // it has got SIGSTOP
	closing bool
	waiting map[string][]func() // what is to be done when the log says something
	ended   chan struct{}       // closed when it has ended for good
}

// pauseBefore a new process takes the place of one that has ended.
const pauseBefore = 300 * time.Millisecond

// forks takes the processes to start. The kernel sends a child its death signal when the thread ends that started it, so
// one goroutine that never ends, on a thread that is only its own, starts them all.
var forks = sync.OnceValue(func() chan<- func() {
	forks := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fork := range forks {
			fork()
		}
	}()
	return forks
})

// startAgent starts an agent, which lives until close. All that its processes say goes to logFile.
func startAgent(logFile string, command ...string) (*agent, error) {
	a := &agent{command: command, logFile: logFile, waiting: map[string][]func(){}, ended: make(chan struct{})}
	if err := os.MkdirAll(filepath.Dir(logFile), 0o700); err != nil {
		return nil, err
	}
	wait, err := a.start()
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(a.ended)
		for wait != nil {
			wait = a.next(wait())
		}
	}()
	return a, nil
}

// next starts the process after one that has ended; nil if the agent is to end.
func (a *agent) next(why error) (wait func() error) {
	a.mu.Lock()
	a.process, a.stopped = nil, false
	a.mu.Unlock()
	a.note(fmt.Sprintf("torture: the process has ended: %v", why))
	time.Sleep(pauseBefore)
	wait, err := a.start()
	if err != nil {
		a.note(fmt.Sprintf("torture: %v", err))
	}
	return wait
}

// start starts a process, unless the agent is to end, and returns what waits for its end.
func (a *agent) start() (wait func() error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return nil, nil
	}
	log, err := os.OpenFile(a.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(a.command[0], a.command[1:]...)
	lines, words := io.Pipe()
	cmd.Stdout, cmd.Stderr = words, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	failed := make(chan error)
	forks() <- func() { failed <- cmd.Start() }
	if err := <-failed; err != nil {
		log.Close()
		return nil, err
	}
	go func() {
		defer log.Close()
		a.listen(lines, log)
	}()
	a.process = cmd.Process
	return func() error {
		defer words.Close()
		return cmd.Wait()
	}, nil
}

// listen copies what a process says into the log, and does what waits for it.
func (a *agent) listen(lines io.Reader, log io.Writer) {
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		a.mu.Lock()
		var due []func()
		for text, all := range a.waiting {
			if strings.Contains(scanner.Text(), text) {
				due = append(due, all...)
				delete(a.waiting, text)
			}
		}
		a.mu.Unlock()
		for _, do := range due {
			do()
		}
		fmt.Fprintln(log, scanner.Text())
	}
}

// when does something as soon as the log says so, or else after a while, and returns when it was done.
func (a *agent) when(text string, patience time.Duration, do func()) {
	said := make(chan struct{})
	a.mu.Lock()
	a.waiting[text] = append(a.waiting[text], sync.OnceFunc(func() {
		do()
		close(said)
	}))
	once := a.waiting[text][len(a.waiting[text])-1]
	a.mu.Unlock()
	select {
	case <-said:
	case <-time.After(patience):
		once()
	}
}

// kill ends the process as a crash does. Another one takes its place.
func (a *agent) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process != nil {
		_ = a.process.Kill() // an error means that it has ended already
		a.noteLocked("torture: killed")
	}
}

// stop keeps the process from running at all, as a node does that has no time for it.
func (a *agent) stop() { a.freeze(true, syscall.SIGSTOP, "torture: stopped") }

// resume lets it go on.
func (a *agent) resume() { a.freeze(false, syscall.SIGCONT, "torture: goes on") }

func (a *agent) freeze(stopped bool, signal syscall.Signal, note string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process != nil && a.stopped != stopped {
		_ = a.process.Signal(signal)
		a.stopped = stopped
		a.noteLocked(note)
	}
}

// close ends the agent for good, as SIGTERM does, and returns when it has ended.
func (a *agent) close() {
	a.resume()
	a.mu.Lock()
	a.closing = true
	if a.process != nil {
		_ = a.process.Signal(syscall.SIGTERM)
	}
	a.mu.Unlock()
	select {
	case <-a.ended:
	case <-time.After(20 * time.Second):
		a.kill()
		<-a.ended
	}
}

// note writes a line of the program's own into the agent's log.
func (a *agent) note(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noteLocked(line)
}

func (a *agent) noteLocked(line string) {
	log, err := os.OpenFile(a.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer log.Close()
	fmt.Fprintf(log, "time=%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), line)
}
