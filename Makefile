# certpush: see README. `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0)
# The versions are fixed, so that a new linter does not break a build.
GOLANGCI := golangci-lint@v2.5.0
DEADCODE := deadcode@v0.49.0
GOVULNCHECK := govulncheck@v1.9.0
# The packages that the targets install on Debian. DEBIAN_PACKAGES is what the tests run: a
# C compiler for -race, the real scanner and its client, shells that complete our verbs,
# the real logrotate, and what makes file systems.
INSTALL_PACKAGES := systemd-container mmdebstrap dpkg-dev apt-utils gnupg createrepo-c lintian
BENCH_PACKAGES := clamav-daemon clamdscan inotify-tools python3
SOAK_PACKAGES := qemu-system-x86 busybox-static cpio e2fsprogs
DEBIAN_PACKAGES := gcc libc6-dev clamav-daemon clamdscan systemd zsh fish logrotate e2fsprogs bindfs
MSI_PACKAGES := wixl msitools osslsigncode zip
WINDOWS_PACKAGES := wine64 gcc-mingw-w64-x86-64-win32 $(MSI_PACKAGES) clamav-daemon
CONFIG := packaging/certpush.toml
NFPM_OF := $(GO) tool -modfile=tools/go.mod nfpm
NFPM := CONFIG=$(CONFIG) $(NFPM_OF)
# With this, two builds of one commit are identical byte by byte.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# AS_VERSION makes a package version of `git describe`: it begins with a digit, and a build
# after a tag sorts after the tag. v1.2.3-5-gc0ffee becomes 1.2.3+5.gc0ffee.
AS_VERSION := s/^v//; s/-\([0-9]*\)-\(g[0-9a-f]*\)$$/+\1.\2/
PACKAGE_VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed '$(AS_VERSION)' | grep . || echo 0.1.0)
FUZZTIME ?= 30s
SOAK ?= 10m
ARCHS ?= amd64 arm64
SUITES ?= bookworm trixie
# Debian 13 if this machine has Debian 12, and otherwise Debian 12.
OTHER_DEBIAN ?= $(shell . /etc/os-release 2>/dev/null; [ "$$VERSION_CODENAME" = bookworm ] && echo trixie || echo bookworm)
CUTS ?= 10
MIX ?= 20000
ROUNDS ?= 3

# The slowest of the tests that need no other program. `make check` skips them, `make test`
# runs them.
SLOW := Kill9|VerifyFixQueues|StoppedProcess|TouchedWhileItIsHashed|ManyFilesInOneFolder|DiskMayOnlyBeRead|HoldsACursorBackIsSaid|BeyondTheWatchLimit|StopDoesNotWaitForTheDisk|ThousandsOfLevels|NestedFoldersInABurst|FinePrint08|MinFreeIsReached|FolderSwappedForALink

.PHONY: help build demo check test deps lint vuln bench fuzz soak weekly packages repos msi test-install test-debian test-windows

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

build: ## build ./certpush
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o certpush .

demo: build ## watch a folder, drop files, show their verdicts; needs no scanner
	@./testdata/demo.sh

# It needs no root, C compiler or scanner: tests that need one are skipped.
check: build lint ## build, vet, lint and the quick tests; installs nothing, for each change
	CGO_ENABLED=0 CI= $(GO) test -short -parallel 8 -timeout 5m -skip '$(SLOW)' ./...

test: deps lint ## install what the tests need (root on Debian), then run every test
	$(GO) test -race -parallel 8 -timeout 60m $(TESTFLAGS) ./...

# It installs only as root on Debian. On other systems the tests with real components are
# skipped and say why.
deps:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -o DPkg::Lock::Timeout=300 -q update; \
		apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(DEBIAN_PACKAGES); \
	fi
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ ! -x .tools/promtool ]; then $(MAKE) --no-print-directory .tools/promtool; fi

# It unpacks only the program: up to Debian 12 its package would start a server.
.tools/promtool:
	@apt-get -o DPkg::Lock::Timeout=300 -q update
	@rm -rf .tools/prometheus && mkdir -p .tools/prometheus && cd .tools/prometheus && \
		package=$$(apt-cache show promtool >/dev/null 2>&1 && echo promtool || echo prometheus) && \
		apt-get -q -o APT::Sandbox::User=root download $$package && dpkg-deb -x $${package}_*.deb . && mv usr/bin/promtool .. && cd .. && rm -r prometheus

lint: .tools/$(GOLANGCI) .tools/$(DEADCODE) ## gofmt, vet for Linux and Windows, golangci-lint, functions that nothing calls
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these: $$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	GOOS=windows CGO_ENABLED=0 $(GO) vet ./...
	.tools/$(GOLANGCI) run --allow-serial-runners
	GOOS=windows CGO_ENABLED=0 .tools/$(GOLANGCI) run --allow-serial-runners
	./testdata/deadcode.sh .tools/$(DEADCODE)

# The tools are built without cgo, so that they need no C compiler.
.tools/$(GOLANGCI):
	CGO_ENABLED=0 GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/$(GOLANGCI)
	mv .tools/golangci-lint $@

.tools/$(DEADCODE):
	CGO_ENABLED=0 GOBIN=$(CURDIR)/.tools $(GO) install golang.org/x/tools/cmd/$(DEADCODE)
	mv .tools/deadcode $@

# It is not in CI: it asks a database in the network, which CI may not reach, and the
# answer changes although our code does not. Run it before a release.
vuln: .tools/$(GOVULNCHECK) ## ask the database of known vulnerabilities about what we call; needs the network
	.tools/$(GOVULNCHECK) ./...
	GOOS=windows CGO_ENABLED=0 .tools/$(GOVULNCHECK) ./...

.tools/$(GOVULNCHECK):
	CGO_ENABLED=0 GOBIN=$(CURDIR)/.tools $(GO) install golang.org/x/vuln/cmd/$(GOVULNCHECK)
	mv .tools/govulncheck $@

# A row is named in testdata/bench.tsv. BENCH=short makes each row small, and ROUNDS=1 runs it
# once: so CI sees that each row can be made. It says nothing of speed then.
bench: deps ## measure, beside the peers' programs in the same run, and print a table
	@dpkg -s $(BENCH_PACKAGES) >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(BENCH_PACKAGES) >/dev/null
	@(nproc; uname -sr; awk -F ': ' '/^model name/ {print $$2; exit}' /proc/cpuinfo; $(GO) version; clamdscan --version) 2>/dev/null | paste -sd ';' | sed 's/;/; /g'
	@echo 'A row again: go test -run "^$$" -bench "^Benchmark<the row>$$" -benchtime 1x -count 3 <. or ./pipeline>'
	@{ $(GO) test -run '^$$' -bench . -benchtime 1x -count $(ROUNDS) -timeout 4h .; \
		$(GO) test -run '^$$' -bench 'SlowDisk|ClientCPU' -benchtime 1x -count $(ROUNDS) -timeout 1h ./pipeline; \
		$(GO) test -run '^$$' -bench 'Append|Read$$|Line|Why' -benchtime $(if $(BENCH),1x,1s) -count $(ROUNDS) -timeout 1h ./pipeline/journal ./pipeline/internal/sample ./pipeline; \
	} | awk -f testdata/bench.awk testdata/bench.tsv -

fuzz: ## run each fuzz target for FUZZTIME
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$dir; \
		done; \
	done

soak: deps build ## what takes longer: power cuts of a virtual machine, and for SOAK each kill -9 and steady memory
	@dpkg -s $(SOAK_PACKAGES) >/dev/null 2>&1 || \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(SOAK_PACKAGES)
	./testdata/powercut.sh ./certpush $(CUTS)
	SOAK=$(SOAK) $(GO) test -run '^TestKill9$$' -timeout 0 -v ./pipeline
	MIX=$(MIX) $(GO) test -run '^TestMix$$' -timeout 0 ./pipeline
	SOAK=$(SOAK) $(GO) test -run 'StoppedProcess|NestedFolders|WatchLimit|SwappedForALink|ThousandsOfLevels|ManyFiles|Burst|EarKeeps' -timeout 0 -v ./pipeline ./pipeline/watch
	SOAK=$(SOAK) $(GO) test -run '^TestMemoryStaysFlat$$' -timeout 0 -v .

weekly: fuzz soak ## fuzz and soak: run it once a week, and before a release

packages: ## build .deb and .rpm for amd64 and arm64 into dist/
	@rm -rf dist && mkdir -p dist/completion
	@for arch in $(ARCHS); do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(PACKAGE_VERSION)" -o dist/certpush-linux-$$arch .; \
	done
	@for shell in bash zsh fish; do $(GO) run . completion $$shell >dist/completion/certpush.$$shell; done
	@for page in certpush.8 certpush.toml.5; do gzip -9n <packaging/man/$$page >dist/$$page.gz; done
	@gzip -9n <CHANGELOG.md >dist/CHANGELOG.md.gz
	@sh packaging/licences.sh | gzip -9n >dist/third-party-licenses.gz
	@for arch in $(ARCHS); do \
		for kind in deb rpm; do ARCH=$$arch VERSION=$(PACKAGE_VERSION) $(NFPM) package -f nfpm.yaml -p $$kind -t dist/; done; \
	done

repos: packages ## make signed apt and yum repositories of the packages in dist/repos/; GPG_KEY names the key
	@./packaging/repos.sh dist dist/repos

msi: ## build the MSI and a zip for 64-bit Windows into dist/; SIGN_CERT and SIGN_KEY sign them
	@if command -v apt-get >/dev/null && ! dpkg -s $(MSI_PACKAGES) >/dev/null 2>&1; then \
		apt-get -o DPkg::Lock::Timeout=300 -q update; \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(MSI_PACKAGES) >/dev/null; \
	fi
	@GO=$(GO) ./packaging/msi/build.sh $(PACKAGE_VERSION) dist

# It needs root on Debian, because it boots containers.
test-install: ## install, upgrade, kill and remove the packages under a real systemd
	@if ! dpkg -s $(INSTALL_PACKAGES) >/dev/null 2>&1; then \
		apt-get -o DPkg::Lock::Timeout=300 -q update; \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(INSTALL_PACKAGES) >/dev/null; \
	fi
	@$(MAKE) --no-print-directory packages ARCHS=amd64 PACKAGE_VERSION=0.0.1 >/dev/null
	@# Make an rpm with another configuration, to test .rpmnew.
	@rm -rf .install && mkdir .install && sed '1i # An older one.' packaging/certpush.toml >.install/older.toml
	@ARCH=amd64 VERSION=0.0.1 CONFIG=.install/older.toml $(NFPM_OF) package -f nfpm.yaml -p rpm -t dist/ >/dev/null
	@./packaging/repos.sh dist .install/old
	@$(NFPM) package -f packaging/host-base.yaml -p rpm -t .install/old/host-base.rpm >/dev/null
	@$(MAKE) --no-print-directory packages ARCHS=amd64 >/dev/null
	@sha256sum dist/*.deb dist/*.rpm >.install/sums
	@$(MAKE) --no-print-directory packages >/dev/null
	@sha256sum --check --quiet .install/sums && echo "ok - built twice, the same to the byte"
	@after=$$(echo v0.0.1-5-g0123abc | sed '$(AS_VERSION)'); \
		ARCH=amd64 VERSION=$$after $(NFPM) package -f nfpm.yaml -p deb -t .install/after.deb >/dev/null; \
		after=$$(dpkg-deb -f .install/after.deb Version); \
		dpkg --compare-versions "$$after" gt 0.0.1-1 && dpkg --compare-versions "$$after" lt 0.0.2~rc.1-1 && echo "ok - a build after a tag comes after it: $$after"
	@lintian --allow-root --fail-on error,warning dist/*.deb
	@./packaging/repos.sh dist .install/new
	@for suite in $(SUITES); do for kind in deb rpm; do ./packaging/test-install.sh .install/new .install/old $$kind $$suite; done; done

# It needs root on Debian, because it makes a base system and enters it.
test-debian: .tools/$(GOLANGCI) .tools/$(DEADCODE) ## check, demo, deps and the quick tests with -race, on the bare Debian that this one is not
	@if ! dpkg -s mmdebstrap >/dev/null 2>&1; then \
		apt-get -o DPkg::Lock::Timeout=300 -q update; \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends mmdebstrap >/dev/null; \
	fi
	@./testdata/debian.sh $(OTHER_DEBIAN)

test-windows: ## run the tests of the Windows program under Wine, and install its MSI there; UPDATE=1 writes the golden tables
	@if ! dpkg -s $(WINDOWS_PACKAGES) >/dev/null 2>&1; then \
		apt-get -o DPkg::Lock::Timeout=300 -q update; \
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends $(WINDOWS_PACKAGES) >/dev/null; \
	fi
	@rm -rf .wine && testdata/wine/prefix.sh .wine
	export WINEPREFIX=$(CURDIR)/.wine; trap '/usr/lib/wine/wineserver64 -k' EXIT; \
		GOOS=windows CGO_ENABLED=0 $(GO) test -short -parallel 8 -timeout 60m -exec $(CURDIR)/testdata/wine/run.sh ./...
	@GO=$(GO) ./packaging/msi/test-msi.sh $(PACKAGE_VERSION)
