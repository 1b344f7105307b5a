package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// grace is how long a process may take to end after SIGTERM before it gets SIGKILL.
const grace = 5 * time.Second

// process is a child of this one. It dies with it, whatever this one dies of.
type process struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	err     error         // why it ended; to be read after done
}

// forks takes the children to start. The kernel sends a child its death signal when the *thread* that started it ends,
// so one goroutine that never ends, on a thread that is only its own, starts them all.
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

// startProcess runs a command of which all output goes to the end of logDir/<name>.log.
func startProcess(name, logDir string, command []string) (*process, error) {
	logFile := filepath.Join(logDir, name+".log")
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a Ctrl-C in the terminal is for devcluster alone: it ends its children in their order
	}
	p := &process{name: name, logFile: logFile, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	forks() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.explain(cmd.Wait())
		close(p.done)
	}()
	return p, nil
}

// stop ends the process and returns when it has ended. It may be called more than once.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// explain says how the process ended, with the end of its log: that is where it says why.
func (p *process) explain(err error) error {
	text, readErr := os.ReadFile(p.logFile)
	if readErr != nil {
		text = []byte(readErr.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	how := "it ended by itself"
	if err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s is gone (%s); the end of %s:\n%s", p.name, how, p.logFile, bytes.Join(lines, []byte("\n")))
}
