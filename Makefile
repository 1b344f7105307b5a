# Everything here works from a clean clone with Go, git, gcc and make. Output goes to .build/, caches are Go's own.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# RACE=1 runs the tests of `make test` under the race detector. V=1 names every test.
# FUZZTIME is for each fuzz target of `make fuzz`, SCHEDULES is for `make crash`, REPOS for `make fuzz-git`, EPISODES and
# WORKERS for `make torture`, SEED for these three. KEEP=1 keeps the demonstration running.
RACE ?=
V ?=
FUZZTIME ?= 10s
SCHEDULES ?= 60000
SEED ?= 0
REPOS ?= $(if $(filter-out 0,$(SEED)),1,5000)
EPISODES ?= $(if $(filter-out 0,$(SEED)),1,10)
WORKERS ?= 3
export KEEP

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEVCLUSTER  := cmd/devcluster
DEVFORGE    := cmd/devforge
FORGETAGS   := -tags=sqlite,sqlite_unlock_notify
TESTFLAGS   := -timeout=$(if $(RACE),80m,45m) $(if $(V),-v)

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the agent: .build/gitrota
	go build -o .build/gitrota ./cmd/gitrota

# The locks are those under which tests build these for themselves. What is not a package that was compiled or downloaded
# is a message, and shown.
PROGRESS = awk '\
		/^go: downloading / { if (++fetched % 100 == 0) { print "  " fetched " modules downloaded"; fflush() } next } \
		/^[^ :]+$$/         { if (++built % 100 == 0) { print "  " built " packages compiled"; fflush() } next } \
		                    { print; fflush() }'

.PHONY: devcluster
devcluster: ## build the test cluster: .build/devcluster (the first time, this compiles Kubernetes)
	@mkdir -p .build
	@echo "building .build/devcluster; the first time this compiles about 1,900 packages of Kubernetes, for some minutes"
	@flock .build/devcluster.lock go build -C $(DEVCLUSTER) -v -o "$(CURDIR)/.build/devcluster" . 2>&1 | $(PROGRESS)

.PHONY: devforge
devforge: ## build the test forge: .build/devforge (the first time, this compiles Gitea)
	@mkdir -p .build
	@echo "building .build/devforge; the first time this compiles about 1,200 packages of Gitea, for some minutes"
	@flock .build/devforge.lock go build -C $(DEVFORGE) $(FORGETAGS) -v -o "$(CURDIR)/.build/devforge" . 2>&1 | $(PROGRESS)

.PHONY: demo
demo: build devcluster ## rotate twice before your eyes; KEEP=1 leaves everything running to look around
	@go build -o .build/demo ./cmd/demo
	@.build/demo

.PHONY: test
test: clients devcluster devforge ## run every test, with real clusters, forges, Git and SQL clients; RACE=1: with the race detector, V=1: verbose
	@failed=0; \
	go test $(TESTFLAGS) $(if $(RACE),-race) ./... || failed=1; \
	go test -C $(DEVCLUSTER) $(TESTFLAGS) ./... || failed=1; \
	exit $$failed

# FreeTDS is the second client that the SQL Server stand-in has to convince; gpg and ssh-keygen sign as people do.
.PHONY: clients
clients:
	@command -v tsql >/dev/null && command -v gpg >/dev/null && command -v ssh-keygen >/dev/null && exit; \
	as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	echo "installing the Debian packages freetds-bin, gpg and openssh-client, whose tsql, gpg and ssh-keygen the tests need"; \
	if ! { $$as_root apt-get update && $$as_root apt-get install -y --no-install-recommends freetds-bin gpg gpg-agent openssh-client; }; then \
		echo "The tests need tsql of FreeTDS, gpg and ssh-keygen, and they could not be installed. Install the packages freetds-bin, gpg and openssh-client (Debian, Ubuntu) or those of your system." >&2; \
		exit 1; \
	fi

.PHONY: bench
bench: devcluster ## what the Git side costs, in one table against git and go-git; then the benchmarks of rotations
	@go build -o .build/bench ./cmd/bench
	@.build/bench
	go test -timeout=60m -run='^$$' -bench=. -benchmem ./...

# A failing schedule is printed with its seed; SEED=n replays it alone.
.PHONY: crash
crash: ## try to lose a credential: every fault at every call, SCHEDULES (60000) in all (two minutes)
	@mkdir -p .build; \
	if ! go test -timeout=20m -count=1 -v -run='NoSchedule|Oracle' ./reconcile -schedules=$(SCHEDULES) -seed=$(SEED) >.build/crash.log 2>&1; then \
		cat .build/crash.log; exit 1; \
	fi; \
	grep '^crash: ' .build/crash.log

.PHONY: kill
kill: clients devcluster ## kill the real agent at every write, change and push of a group's rotation (some minutes)
	go test -timeout=40m -count=1 -v -run='AgentOfAGroupKilled' ./cmd/gitrota -every-moment | grep -v '^=== '

# A violated episode is printed with its seed; SEED=n replays it alone, and EPISODES=200 SEED=n plays 200 from there on.
.PHONY: torture
torture: clients build devcluster ## disturb real agents on a real control plane at random: EPISODES (10), WORKERS (3) at once (some seconds each)
	@go build -o .build/torture ./cmd/torture
	@.build/torture -episodes=$(EPISODES) -workers=$(WORKERS) -seed=$(if $(filter-out 0,$(SEED)),$(SEED),1)

# A repository that is read otherwise than git reads it is printed with its seed, made as small as can be; SEED=n reads it
# alone, and REPOS=200 SEED=n reads 200 from there on.
.PHONY: fuzz-git
fuzz-git: devforge ## compare what is read of REPOS (5000) random repositories with what git says (half an hour)
	@mkdir -p .build; \
	if ! go test -timeout=5h -count=1 -v -run=RandomRepositories ./gitsource/differential -repositories=$(REPOS) \
		-forge-repositories=$$(($(REPOS) / 50)) -seed=$(if $(filter-out 0,$(SEED)),$(SEED),1) >.build/fuzz-git.log 2>&1; then \
		cat .build/fuzz-git.log; exit 1; \
	fi; \
	grep -o 'fuzz-git: .*' .build/fuzz-git.log | sort

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list='^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=2s $$package; \
		done; \
	done

.PHONY: lint
lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt these files: $$unformatted" >&2; exit 1; fi
	go vet ./...
	go vet -C $(DEVCLUSTER) ./...
	go vet -C $(DEVFORGE) $(FORGETAGS) ./...
	go run $(STATICCHECK) ./...
	cd $(DEVCLUSTER) && go run $(STATICCHECK) ./...
	cd $(DEVFORGE) && go run $(STATICCHECK) $(FORGETAGS) ./...

.PHONY: verify
verify: ## check that gofmt and go mod tidy have nothing left to change
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	go -C $(DEVCLUSTER) mod tidy -diff
	go -C $(DEVFORGE) mod tidy -diff

.PHONY: clean
clean: ## remove what was built
	rm -rf .build
