package podrunner

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probe is one of the container's probes: it is run once a period, and what it says changes when as many results in a
// row ask for it as its thresholds say. The zero value is run whenever somebody asks, and every result counts.
type probe struct {
	run                func(context.Context) error // nil: there is no such probe
	period, timeout    time.Duration
	successes, refusal int  // thresholds
	passes             bool // what it says
	streak             int  // results in a row that say otherwise
	next               time.Time
}

// newProbe is a probe of a container that has just started. A spec that is nil is a probe that is not there.
func newProbe(spec *corev1.Probe, run func(context.Context) error, passes bool, now time.Time) probe {
	p := probe{passes: passes, timeout: time.Second}
	if spec == nil {
		return p
	}
	seconds := func(n, otherwise int32) time.Duration {
		if n == 0 {
			n = otherwise
		}
		return time.Duration(n) * time.Second
	}
	p.run, p.next = run, now.Add(time.Duration(spec.InitialDelaySeconds)*time.Second)
	p.period, p.timeout = seconds(spec.PeriodSeconds, 10), seconds(spec.TimeoutSeconds, 1)
	p.successes, p.refusal = int(max(spec.SuccessThreshold, 1)), int(spec.FailureThreshold)
	if p.refusal == 0 {
		p.refusal = 3
	}
	return p
}

// ask runs the probe where its time has come, and returns what it says.
func (p *probe) ask(ctx context.Context, now time.Time) bool {
	if p.run == nil || now.Before(p.next) {
		return p.passes
	}
	p.next = now.Add(p.period)
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	p.note(p.run(ctx) == nil)
	return p.passes
}

// note counts a result.
func (p *probe) note(passed bool) {
	if passed == p.passes {
		p.streak = 0
		return
	}
	threshold := p.refusal
	if passed {
		threshold = p.successes
	}
	if p.streak++; p.streak >= threshold {
		p.passes, p.streak = passed, 0
	}
}

// within is how long it takes until the probe is to be asked again, and at most so long.
func (p *probe) within(most time.Duration, now time.Time) time.Duration {
	if p.run == nil || p.period == 0 {
		return most
	}
	return max(min(most, p.next.Sub(now)), time.Millisecond)
}
