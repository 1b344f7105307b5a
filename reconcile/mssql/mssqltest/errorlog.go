package mssqltest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// errorLog is SQL Server's log, in DataDir/log/errorlog. Unlike SQL Server's it is not begun anew with each start.
type errorLog struct {
	mu   sync.Mutex
	file *os.File // nil: nowhere
}

func openErrorLog(dir string) (*errorLog, error) {
	if dir == "" {
		return &errorLog{}, nil
	}
	dir = filepath.Join(dir, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "errorlog"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return &errorLog{file: f}, err
}

// write adds a line in SQL Server's form: the time, who writes, and what.
func (l *errorLog) write(now time.Time, source, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	line = strings.NewReplacer("\r", " ", "\n", " ").Replace(line) // a login's name must not forge a line
	fmt.Fprintf(l.file, "%s %-11s %s\n", now.Format("2006-01-02 15:04:05.00"), source, line)
}

func (l *errorLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}
