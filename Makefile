# The two commands to know: make demo (see it work) and make test (check it all).

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
LINT        := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

PREFIX  ?= /usr/local
DESTDIR ?=

.PHONY: all build test deps vet unit soak chaos fuzz lint demo bench bench-deps pgo install uninstall clean

all: build

# build puts both programs into bin/.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/charactier-proxy ./cmd/charactier-proxyctl

# test is everything that must hold before a change lands: the last part gives
# each fuzz target a moment beyond its committed seeds. That moment is counted in
# inputs: one counted in seconds now and then ends as a failure of its own
# ("context deadline exceeded").
test: deps vet unit
	$(MAKE) --no-print-directory fuzz FUZZTIME=1000x

# deps installs what the tests need and this machine lacks; without root it
# only says what is missing.
deps:
	./.ci/deps

vet:
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# unit runs every test, the end-to-end ones included, and prints the skipped
# ones at the end. Those of the data path run once more, through the standard
# lane, and without the race detector, under which pools allocate.
unit:
	$(GO) run $(GOTESTSUM) --format pkgname-and-test-fails -- -race -timeout 15m ./...
	$(GO) run $(GOTESTSUM) --format pkgname-and-test-fails -- -timeout 5m ./proxy -lane standard

# soak runs the long forms of the end-to-end tests: a thousand switches under a
# million requests, ten thousand switches for leaks, two hundred kills.
soak:
	SOAK=1 $(GO) test -count=1 -timeout 80m -v -run 'Soak' ./cmd/...

# chaos breaks everything at random under load of all kinds, for MINUTES, and
# judges each request; it fails on a broken promise. SEED repeats what was done,
# and OUT gets the logs: make chaos SEED=7 MINUTES=10
SEED    ?= $(shell date +%s)
MINUTES ?= 10
chaos:
	CHAOS_SEED=$(SEED) CHAOS_SECONDS=$$(($(MINUTES) * 60)) CHAOS_OUT=$(abspath $(OUT))/chaos \
		$(GO) test -count=1 -timeout $$(($(MINUTES) + 20))m -v -run '^TestChaos$$' ./cmd/internal/e2e

# fuzz gives each fuzz target FUZZTIME.
FUZZTIME ?= 30s
fuzz:
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -h '^func Fuzz' $$dir/*_test.go | sed 's/func \([A-Za-z]*\).*/\1/'); do \
			echo "$$dir $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

# lint is stricter than vet and slower to install.
lint:
	$(GO) run $(LINT) run

# demo builds both programs and shows a switch under load.
demo: build
	bin/charactier-proxyctl demo

# bench compares us with nginx and HAProxy, side by side on this machine, in
# about twenty minutes (QUICK=1: in two), and leaves table, CSV and picture in
# OUT. BENCH takes more flags: make bench BENCH='-cases get,1m -cores 0'
ROUNDS  ?= 5
SECONDS ?= 5
OUT     ?= bench-out
bench: build bench-deps
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/internal/bench
	bin/bench -rounds $(ROUNDS) -seconds $(SECONDS) $(if $(QUICK),-quick) -out $(OUT) $(BENCH)

# pgo takes a profile of the benchmark's load, by which the compiler then decides
# what to inline (cmd/charactier-proxy/default.pgo).
pgo: bench-deps
	CGO_ENABLED=0 $(GO) build -trimpath -tags profile -o bin/charactier-proxy-profile ./cmd/charactier-proxy
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/internal/bench
	rm -rf bin/profiles && mkdir -p bin/profiles
	CHARACTIER_PROXY_PROFILES=$(CURDIR)/bin/profiles bin/bench -program bin/charactier-proxy-profile -rounds 1 -seconds $(SECONDS) -cases get,post,many,64k -out bin/profiles
	find bin/profiles -name '*.prof' -size +0 | xargs $(GO) tool pprof -proto >cmd/charactier-proxy/default.pgo

# bench-deps installs what bench compares us with; without root it only says
# what is missing. The tests do not need it.
bench-deps:
	./.ci/bench-deps

# What install copies of systemd/units, by where it goes. The units of the slots
# are examples: they go where they are found, and to nobody's /etc.
UNITS    := charactier-proxy.service charactier-proxy.socket charactier-proxy-control.socket \
	charactier-proxy-reconcile.service charactier-proxy-reconcile.path charactier-proxy-reconcile.timer
SETTINGS := sysusers.d/charactier-proxy.conf sysusers.d/charactier-build.conf \
	tmpfiles.d/charactier-proxy.conf tmpfiles.d/charactier-build.conf \
	polkit-1/rules.d/50-charactier-proxy.rules
EXAMPLES := charactier-backend-blue.service charactier-backend-green.service charactier-backend@.service \
	charactier-frontend-blue.service charactier-frontend-green.service \
	sysusers.d/charactier-backend.conf sysusers.d/charactier-frontend.conf
SHARE    := $(PREFIX)/share/charactier-proxy

# install copies what build made, the units, the users' definitions and the
# examples; it starts and enables nothing, and needs no Go, so that root can run
# it.
install:
	@test -x bin/charactier-proxy || { echo 'nothing to install: run make build first' >&2; exit 1; }
	install -Dm755 bin/charactier-proxy bin/charactier-proxyctl -t $(DESTDIR)$(PREFIX)/bin
	for f in $(UNITS); do install -Dm644 systemd/units/$$f $(DESTDIR)/etc/systemd/system/$$f || exit; done
	for f in $(SETTINGS); do install -Dm644 systemd/units/$$f $(DESTDIR)/etc/$$f || exit; done
	for f in $(EXAMPLES); do install -Dm644 systemd/units/$$f $(DESTDIR)$(SHARE)/examples/$$f || exit; done

# uninstall stops the daemon and removes what install copied. Configuration,
# state, slots and users stay. Point nginx elsewhere first.
uninstall:
	-test -n "$(DESTDIR)" || systemctl disable --now $(UNITS)
	rm -f $(DESTDIR)$(PREFIX)/bin/charactier-proxy $(DESTDIR)$(PREFIX)/bin/charactier-proxyctl
	rm -f $(UNITS:%=$(DESTDIR)/etc/systemd/system/%) $(SETTINGS:%=$(DESTDIR)/etc/%)
	rm -rf $(DESTDIR)$(SHARE)

clean:
	rm -rf bin bench-out
