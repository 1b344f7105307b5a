package agent

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile"
)

// metrics are what /metrics shows. All labels are bounded: none holds a name that a user chose.
type metrics struct {
	registry *prometheus.Registry
	polls    *prometheus.CounterVec
	lastPoll prometheus.Gauge
	steps    *prometheus.HistogramVec
	ended    *prometheus.GaugeVec
	running  prometheus.Gauge
	waiting  prometheus.Gauge
	pending  prometheus.Gauge
	problems prometheus.Gauge

	oldest  atomic.Pointer[time.Time] // since when Git lacks a status; zero or nil: it lacks none
	unready atomic.Pointer[string]    // why the cluster keeps the agent from its start; nil: it does not
	ready   atomic.Bool               // the repository was read at least once
	standby atomic.Bool               // another agent holds the lease
}

func newMetrics(plainReads func() uint64) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		polls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gitrota_polls_total", Help: "Polls of the repository by result (success or error)."}, []string{"result"}),
		lastPoll: gauge("gitrota_last_poll_success_timestamp_seconds", "When the repository was last polled with success, in seconds since 1970."),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitrota_step_duration_seconds", Help: "How long the steps of rotations took, by step and result (done or again).",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300},
		}, []string{"step", "result"}),
		ended:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gitrota_requests_ended", Help: "Requests that this process has brought to an end, by phase."}, []string{"phase"}),
		running:  gauge("gitrota_rotations_running", "Databases that a rotation runs for."),
		waiting:  gauge("gitrota_requests_unfinished", "Requests that have not ended."),
		pending:  gauge("gitrota_journal_pending", "Statuses that are not in Git yet."),
		problems: gauge("gitrota_manifest_problems", "Problems in manifests that belong to no request."),
	}
	m.registry.MustRegister(m.polls, m.lastPoll, m.steps, m.ended, m.running, m.waiting, m.pending, m.age(), m.problems, fallbacks(plainReads),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// age tells at every scrape how long Git has lacked a status.
func (m *metrics) age() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gitrota_journal_oldest_age_seconds", Help: "For how long the oldest status has not been in Git that is not; 0 if all are.",
	}, func() float64 {
		oldest := m.oldest.Load()
		if oldest == nil || oldest.IsZero() {
			return 0
		}
		return max(0, time.Since(*oldest).Seconds())
	})
}

// fallbacks tells at every scrape how often a repository was read as a whole because it could not be read in parts.
func fallbacks(count func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gitrota_git_fallback_reads_total",
		Help: "Readings of the repository by the second, more costly way, because the first one failed: see the log, and report it.",
	}, func() float64 { return float64(count()) })
}

// plainReads counts those of the repositories, which may be one and the same.
func plainReads(source, statuses *gitsource.Repository) func() uint64 {
	return func() uint64 {
		if source == statuses {
			return source.PlainReads()
		}
		return source.PlainReads() + statuses.PlainReads()
	}
}

func (m *metrics) observePoll(err error) {
	if err != nil {
		m.polls.WithLabelValues("error").Inc()
		return
	}
	m.polls.WithLabelValues("success").Inc()
	m.lastPoll.SetToCurrentTime()
	m.ready.Store(true)
}

// observeStart notes what the cluster has answered to an agent that starts.
func (m *metrics) observeStart(err error) {
	if err == nil {
		m.unready.Store(nil)
		return
	}
	why := err.Error()
	m.unready.Store(&why)
}

func (m *metrics) observeStep(step string, took time.Duration, err error) {
	result := "done"
	if err != nil {
		result = "again"
	}
	m.steps.WithLabelValues(step, result).Observe(took.Seconds())
}

func (m *metrics) observeState(s reconcile.State) {
	m.running.Set(float64(s.Running))
	m.waiting.Set(float64(s.Waiting))
	m.pending.Set(float64(s.JournalPending))
	m.oldest.Store(&s.JournalOldest)
	m.problems.Set(float64(s.Problems))
	for phase, n := range s.Ended {
		m.ended.WithLabelValues(string(phase)).Set(float64(n))
	}
}
