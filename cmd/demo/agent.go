package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// agentGrace is how long the agent may take to end.
const agentGrace = 20 * time.Second

// process is the agent, as the real binary.
type process struct {
	cmd     *exec.Cmd
	address string // of its HTTP listener
	logFile string
	done    chan struct{} // closed when it has ended
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// startAgent starts the agent and returns when it has read the repository once.
func startAgent(ctx context.Context, binary, logFile string, flags ...string) (*process, error) {
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w: run `make demo`, which builds it", err)
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{logFile: logFile, done: make(chan struct{})}
	p.cmd = exec.Command(binary, append([]string{"agent", "--listen=127.0.0.1:0"}, flags...)...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a Ctrl-C is for the demonstration, which ends the agent before what the agent works with
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // why it ended is in its log
		close(p.done)
	}()
	err = until(ctx, time.Minute, "the agent reads the repository", func() (bool, error) {
		select {
		case <-p.done:
			return false, errors.New("the agent ended at once")
		default:
		}
		return p.ready(), nil
	})
	if err != nil {
		p.stop()
		return p, err
	}
	return p, nil
}

func (p *process) ready() bool {
	if p.address == "" {
		match := listening.FindStringSubmatch(p.log())
		if match == nil {
			return false
		}
		p.address = match[1]
	}
	answer, err := http.Get("http://" + p.address + "/readyz")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
	select {
	case <-p.done:
	case <-time.After(agentGrace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) log() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// logEnd is the last lines of the log.
func (p *process) logEnd() string {
	lines := strings.Split(strings.TrimSpace(p.log()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// until asks many times a second until something holds.
func until(ctx context.Context, patience time.Duration, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s in vain until %s", patience, what))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if held, err := holds(); held || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
