# Tidegate. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Time of the commit: archives of one commit are the same bytes wherever they are made.
EPOCH   := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.built=$(EPOCH)
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

PROGRAMS := tidegate tidegate-receive tidegate-release tidegate-launch
TARGETS  := linux-amd64 linux-arm64 linux-armv7 linux-armv6
# GOARCH and GOARM of each target.
ENV_linux-amd64 := GOOS=linux GOARCH=amd64
ENV_linux-arm64 := GOOS=linux GOARCH=arm64
ENV_linux-armv7 := GOOS=linux GOARCH=arm GOARM=7
ENV_linux-armv6 := GOOS=linux GOARCH=arm GOARM=6

# Counter of a release (ota/release): the only order that updates know. Each release needs a higher one, which the commit's time is.
RELEASE_COUNTER ?= $(EPOCH)
# release.json says what program it lies beside: $(call RELEASE,PROGRAM).
RELEASE = printf '{"counter":%d,"version":"%s","sha256":"%s","length":%d}\n' $(RELEASE_COUNTER) '$(VERSION)' "$$(sha256sum $(1) | cut -d' ' -f1)" "$$(stat -c %s $(1))"

# Debian packages: architecture, and the target that its programs are of. Debian's armhf is ARM v7, but there is one package for Raspberry Pi OS
# on a Pi Zero too.
DEBS := amd64 arm64 armhf
DEB_amd64 := linux-amd64
DEB_arm64 := linux-arm64
DEB_armhf := linux-armv6
# nfpm's name of the architecture.
NFPM_amd64 := amd64
NFPM_arm64 := arm64
NFPM_armhf := arm6
# Whoever answers for the packages: set it where you build them for others (etc/README.md).
MAINTAINER ?= Tidegate authors <tidegate@users.noreply.github.com>
DEBVERSION := $(shell etc/deb/version.sh '$(VERSION)' $(EPOCH))

# ./... passes over testdata: rigs of our module are named one by one, what has a go.mod of its own is gone into.
MODULES := $(patsubst %/go.mod,./%,$(shell find testdata -name go.mod -not -path '*/node_modules/*' 2>/dev/null | sort))
RIGS    := $(filter-out $(addsuffix %,$(MODULES)),$(shell find testdata/rig -name '*.go' -not -path '*/node_modules/*' -printf './%h\n' 2>/dev/null | sort -u))
# Rigs run three at a time, as they wait more than they work, on the programs in bin/, as root (they mount disk images), and never from go's cache of results, which does
# not know those programs.
RIGTEST := TIDEGATE_BIN=$(CURDIR)/bin go test -count=1 -p 3 $(if $(filter-out 0,$(shell id -u)),-exec 'sudo TIDEGATE_BIN=$(CURDIR)/bin')
TOOL    := go tool -modfile=etc/tools.mod
# Shell scripts of the tree.
SCRIPTS := .ci/run .ci/deps .ci/fuzz $(shell find etc testdata -name '*.sh' -not -path '*/node_modules/*' 2>/dev/null | sort)

# Rigs that `make test` leaves to `make long`.
LATER    := $(addprefix ./testdata/rig/,hil% deb% update% mutants%)
ALONE    := /(ota|cmd/tidegate-release)(/|$$)
# A program with the race detector sleeps for a second where it ends, for reports that are being written: tests start many.
export GORACE := atexit_sleep_ms=50
# Tests that work for half a minute and more under the race detector, on what others do beside one another under it: make test runs them without, make long with it.
HEAVY    := TestDiskStaysWithinTheLimit|TestWritesGoOnAlone|TestMonthOfOutage|TestBadDriversDisturbNobody|TestALongWeekend|TestAMillionRecordsForOthers
HEAVIES  := ./buffer ./buffer/disk ./agent ./agent/line ./sync/forward
ARMV6    := qemu-arm-static -cpu arm1176
FUZZTIME ?= 10m
# What `make crash` does: kills, power cuts, power cuts of an emulated machine, damages; SHARD=i/n does one of n parts of each.
KILLS    ?= 1000
CUTS     ?= 200
GUEST    ?= 50
DAMAGES  ?= 500
SHARD    ?=
HISTORIES ?= 100000

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into bin/
	@mkdir -p bin
	for p in $(PROGRAMS); do $(BUILD) -o bin/$$p ./cmd/$$p; done

.PHONY: demo
demo: build ## run the whole path on this machine, without configuration; Ctrl-C ends it
	bin/tidegate demo

.PHONY: deps
deps: ## install what the tests need (Debian packages, through sudo where not root)
	.ci/deps

.PHONY: deps-deb
deps-deb:
	.ci/deps deb

.PHONY: test
test: deps build ## run the fast tier of tests
	go vet ./... $(RIGS)
	@# not from go's cache of results, which does not know what a test builds
	for m in $(MODULES); do (cd $$m && go vet ./... && go test -count=1 -timeout 10m ./...); done
	go test -race -timeout 20m -skip '$(HEAVY)' $$(go list ./... | grep -vE '$(ALONE)')
	go test -timeout 20m -run '$(HEAVY)' $(HEAVIES)
	@# these start no goroutine, as arch_test.go sees to: the race detector has nothing to find there
	go test -timeout 20m $$(go list ./... | grep -E '$(ALONE)')
	$(RIGTEST) -timeout 20m -v $(filter-out $(LATER),$(RIGS))
	@echo "test: the source without one of its checks, which one it is by the commit: a test has to see it"
	go test -count=1 -timeout 10m -v ./testdata/rig/mutants
	@echo "test: rules and windows against their models, 10,000 cases each"
	go test -timeout 10m -run AgainstModel ./rules ./rules/window -rapid.checks=10000
	@echo "test: the buffer as a program for ARM v6, of 32 bits, under qemu"
	GOARCH=arm GOARM=6 CGO_ENABLED=0 EMULATOR='$(ARMV6)' go test -timeout 20m -short -exec '$(ARMV6)' ./buffer/... ./sync/wire/...

.PHONY: crash
crash: deps build ## kill the gateway 1,000 times, cut its power 250 times, damage its files 500 times, and all else that disks do; account for every reading: hours, needs root
	testdata/rig/hil/kernels.sh work/kernels amd64
	$(RIGTEST) -timeout 24h -v ./testdata/rig/crash -all $(if $(SHARD),-shard $(SHARD)) -kills $(KILLS) -cuts $(CUTS) -guest $(GUEST) -damages $(DAMAGES) \
		-fault 30s -full 60s -kernels $(CURDIR)/work/kernels
	-go run ./testdata/rig/reliability

.PHONY: brick
brick: deps build ## end an update by kill and by power cut before each system call that changes something, and leave out each sync: up to an hour
	$(RIGTEST) -timeout 4h -v ./testdata/rig/brick -all -show

.PHONY: mutants
mutants: ## take each check out of the source once, and want a test to see it: half an hour
	go test -count=1 -timeout 24h -v ./testdata/rig/mutants -all

.PHONY: delta
delta: ## measure what deltas between five real commits take: builds six programs, 2 minutes
	go test -count=1 -timeout 30m -v -run RealCommits ./testdata/rig/delta -pairs 5

.PHONY: hil
hil: deps build ## run the gateway on emulated ARM boards, on Debian's kernels: fetches those and qemu (140 MB), 3 minutes
	testdata/rig/hil/kernels.sh work/kernels
	$(RIGTEST) -timeout 30m -v ./testdata/rig/hil -kernels $(CURDIR)/work/kernels

DEBTEST = -debs $(CURDIR)/dist -tarball $(CURDIR)/dist/tidegate-$(VERSION)-linux-amd64.tar.gz
.PHONY: deb-check
deb-check: deps-deb ## make packages and the tarball, install and remove them in a layer above this machine's own system: needs root, 2 minutes
	$(MAKE) --no-print-directory deb dist-linux-amd64
	$(RIGTEST) -timeout 20m -v ./testdata/rig/deb $(DEBTEST)

.PHONY: deb-test
deb-test: deps-deb ## the same in fresh Debian systems, for amd64 and armhf; boot one, and update it over HTTPS with power cuts: fetches 150 MB, needs root, an hour; ARM64=1: and one for arm64, on an emulated board
	$(if $(filter-out 0,$(shell id -u)),sudo) testdata/rig/deb/bases.sh work/deb amd64 armhf $(if $(ARM64),arm64)
	$(MAKE) --no-print-directory deb dist-linux-amd64
	$(RIGTEST) -timeout 4h -v ./testdata/rig/deb $(DEBTEST) -base $(CURDIR)/work/deb/amd64 -bases $(CURDIR)/work/deb $(if $(ARM64),-arm64)

.PHONY: long
long: deps build ## run every test at full length: hours
	TIDEGATE_LONG=1 go test -count=1 -timeout 24h ./...
	go test -race -count=1 -timeout 24h -run '$(HEAVY)' $(HEAVIES)
	$(RIGTEST) -timeout 24h ./testdata/rig/real ./testdata/rig/misuse
	$(RIGTEST) -timeout 2h -v ./testdata/rig/update -real
	go test -count=1 -timeout 24h $$(go list -f '{{range .TestImports}}{{if eq . "pgregory.net/rapid"}}{{$$.ImportPath}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "pgregory.net/rapid"}}{{$$.ImportPath}}{{end}}{{end}}' ./...) -rapid.checks=$(HISTORIES)
	$(MAKE) reproducible
	$(MAKE) crash
	$(MAKE) brick
	$(MAKE) mutants
	$(MAKE) delta
	$(MAKE) hil
	$(MAKE) deb-test ARM64=1
	$(MAKE) reliability

.PHONY: reliability
reliability: ## merge what long runs have measured into RELIABILITY.md
	go run ./testdata/rig/reliability

.PHONY: fuzz
fuzz: ## fuzz each target (FUZZTIME=10m)
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: deps ## compare with Telegraf on the same work, write BENCHMARKS.md: 95 minutes, needs root
	cd testdata/rig/bench && go build -o ../../../bin/bench .
	bin/bench $(BENCH)

.PHONY: lint
lint: deps ## look for what the compiler does not mind
	@unformatted=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$unformatted" ]; then echo "not formatted, make fmt: $$unformatted" >&2; exit 1; fi
	$(TOOL) staticcheck ./... $(RIGS)
	for m in $(MODULES); do (cd $$m && go vet ./... && go tool -modfile=$(CURDIR)/etc/tools.mod staticcheck ./... && go mod tidy -diff); done
	go mod verify
	go mod tidy -diff
	shellcheck $(SCRIPTS)
	for u in etc/*.service; do systemd-analyze security --offline=true --threshold=15 --no-pager $$u >/dev/null || { echo "$$u is exposed by more than 1.5" >&2; exit 1; }; done

.PHONY: driver
driver: ## lay out the folder of a new driver (NAME=name, for a part on an I2C bus BUS=i2c)
	@BUS=$(BUS) etc/driver.sh $(NAME)

.PHONY: fmt
fmt: ## format all Go files
	$(TOOL) gofumpt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: cross
cross: $(TARGETS:%=cross-%) ## build for every target, without cgo, and print the sizes
cross-%:
	@mkdir -p dist/$*
	for p in $(PROGRAMS); do \
		$(ENV_$*) $(BUILD) -o dist/$*/$$p ./cmd/$$p; \
		printf '%-12s %-17s %s bytes\n' $* $$p "$$(stat -c %s dist/$*/$$p)"; \
	done

.PHONY: reproducible
reproducible: ## build all programs for all targets from clones in two folders, and compare the bytes: minutes
	etc/reproducible.sh '$(PROGRAMS)' '$(TARGETS)'

.PHONY: dist
dist: $(TARGETS:%=dist-%) ## make a tarball per target in dist/
	cd dist && sha256sum tidegate-$(VERSION)-*.tar.gz >SHA256SUMS
	@cat dist/SHA256SUMS
dist-%: cross-%
	$(eval NAME := tidegate-$(VERSION)-$*)
	rm -rf dist/$(NAME)
	mkdir -p dist/$(NAME)
	install -m 755 $(addprefix dist/$*/,$(PROGRAMS)) etc/install.sh dist/$(NAME)/
	install -m 644 etc/tidegate.service etc/tidegate-expire.service etc/tidegate-expire.timer etc/tidegate.yaml etc/tidegate.schema.json etc/60-tidegate.rules LICENSE README.md CHANGELOG.md dist/$(NAME)/
	install -m 755 -D -t dist/$(NAME)/examples etc/examples/*
	echo $* >dist/$(NAME)/target
	$(call RELEASE,dist/$*/tidegate) >dist/$(NAME)/release.json
	tar -C dist --sort=name --mtime=@$(EPOCH) --owner=0 --group=0 --numeric-owner --mode=go-w -cf - $(NAME) | gzip -n9 >dist/$(NAME).tar.gz
	rm -rf dist/$(NAME)

.PHONY: deb
deb: $(DEBS:%=deb-%) ## make a Debian package per architecture in dist/
	@cd dist && sha256sum $(DEBS:%=tidegate_$(DEBVERSION)-1_%.deb)
# Manual and completion come from a program of this machine, as the package's own may not run here.
deb-%: build
	@$(MAKE) --no-print-directory cross-$(DEB_$*)
	rm -rf dist/deb-$* dist/tidegate_*_$*.deb
	mkdir -p dist/deb-$*/man
	bin/tidegate man dist/deb-$*/man
	bin/tidegate completion bash >dist/deb-$*/completion
	$(call RELEASE,dist/$(DEB_$*)/tidegate) >dist/deb-$*/release.json
	cp CHANGELOG.md dist/deb-$*/changelog
	printf 'tidegate (%s-1) unstable; urgency=medium\n\n  * What is new for users: changelog.gz beside this file.\n\n -- %s  %s\n' \
		'$(DEBVERSION)' '$(MAINTAINER)' "$$(LC_ALL=C date -u -R -d @$(EPOCH))" >dist/deb-$*/changelog.Debian
	gzip -n9 dist/deb-$*/changelog dist/deb-$*/changelog.Debian dist/deb-$*/man/*
	ARCH=$(NFPM_$*) VERSION='$(DEBVERSION)' MAINTAINER='$(MAINTAINER)' BIN=dist/$(DEB_$*) STAGE=dist/deb-$* SOURCE_DATE_EPOCH=$(EPOCH) \
		$(TOOL) nfpm package -f etc/deb/nfpm.yaml -p deb -t dist/tidegate_$(DEBVERSION)-1_$*.deb
	rm -rf dist/deb-$*
