package main

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what a client needed for something.
type cost struct {
	Time, CPU time.Duration // CPU is user and system time of the client's processes
	Memory    int64         // resident bytes at the end; 0: not known
	Peak      int64         // most resident bytes since the process began; 0: not known

	Requests, In, Out float64 // over the wire: HTTP requests, and bytes to the client and from it, headers included
}

// each returns the cost of one of many.
func (c cost) each(times int) cost {
	n := float64(times)
	c.Time, c.CPU = c.Time/time.Duration(times), c.CPU/time.Duration(times)
	c.Requests, c.In, c.Out = c.Requests/n, c.In/n, c.Out/n
	return c
}

// middle returns the median of every part.
func middle(costs []cost) cost {
	return cost{
		Time: median(costs, func(c cost) time.Duration { return c.Time }), CPU: median(costs, func(c cost) time.Duration { return c.CPU }),
		Memory: median(costs, func(c cost) int64 { return c.Memory }), Peak: median(costs, func(c cost) int64 { return c.Peak }),
		Requests: median(costs, func(c cost) float64 { return c.Requests }),
		In:       median(costs, func(c cost) float64 { return c.In }), Out: median(costs, func(c cost) float64 { return c.Out }),
	}
}

// median returns the middle one of at least one value.
func median[T any, V cmp.Ordered](list []T, of func(T) V) V {
	var values []V
	for _, one := range list {
		values = append(values, of(one))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// cpuTime is what this process has used, without its children.
func cpuTime() (time.Duration, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// resident is how many bytes of this process are in memory, and how many were at most. getrusage would not do: what it
// tells a process begins with the memory of the one that started it.
func resident() (now, peak int64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	value := func(name string) (int64, error) {
		_, rest, _ := strings.Cut(string(status), "\n"+name+":")
		line, _, _ := strings.Cut(rest, " kB\n")
		kilobytes, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		return kilobytes << 10, err
	}
	if now, err = value("VmRSS"); err != nil {
		return 0, 0, err
	}
	peak, err = value("VmHWM")
	return now, peak, err
}

// onDisk is how many bytes of disk a folder takes, as du counts.
func onDisk(folder string) (int64, error) {
	var total int64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return total, err
}
