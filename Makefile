# Build, try, test and install Gatepost. `make help` lists the targets.

PREFIX ?= /usr/local
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/gatepost
# Where master(8) looks for programs, and where postfix-files.d is. Asked of the installed
# Postfix; give them on the command line where there is none.
DAEMON_DIR ?= $(call postfix,daemon_directory)
META_DIR ?= $(call postfix,meta_directory)

CARGO ?= cargo
BINARY = $(or $(CARGO_TARGET_DIR),target)/release/gatepost
EXAMPLES = main.cf.example master.cf.example gatepost.cf.example

# A parameter of Postfix, configured or not.
postfix = $(shell PATH="$$PATH:/usr/sbin"; { postconf -h $(1) || postconf -dh $(1); } 2>/dev/null)

.PHONY: all build run test lint unit conformance logtools selftest torture fuzz bench bench-dnsbl \
	bench-parts bench-cache install uninstall clean man-check help

all: build

build: ## build the release binary
	$(CARGO) build --release --locked

run: ## try Gatepost in a private Postfix instance on 127.0.0.1:2525
	@env --default-signal=HUP,INT,TERM scripts/run-demo.sh

test: ## everything: format, clippy, unit, stub master, manuals, conformance, log readers, faults
	@scripts/test.sh

lint: ## format and clippy
	@scripts/test.sh lint

unit: ## all tests of cargo
	@scripts/test.sh unit

conformance: ## the conformance scenarios (as root)
	@scripts/test.sh conformance

logtools: ## do pflogsumm, logwatch, fail2ban and grok patterns see the same? (as root)
	@scripts/test.sh logtools

selftest: ## does the conformance harness notice faults? (as root)
	@scripts/test.sh selftest

torture: ## load and faults that must not hurt, in their long forms (as root; TORTURE_OPTIONS)
	@scripts/torture.sh $(TORTURE_OPTIONS)

fuzz: ## the fuzz targets under libFuzzer (FUZZ_TARGET, FUZZ_RUNS, FUZZ_SECONDS, FUZZ_JOBS)
	@scripts/fuzz.sh

man-check: ## check the manual pages
	@scripts/test.sh man

bench: ## measure visits at postscreen(8), Gatepost and the floor (as root; BENCH_OPTIONS)
	@scripts/bench.sh $(BENCH_OPTIONS)

bench-dnsbl: ## measure DNS blocklist look-ups beside dnsblog(8) (as root)
	@scripts/bench-dnsbl.sh $(BENCH_OPTIONS)

bench-parts: ## measure small parts by themselves (BENCH_OPTIONS: a part of their names)
	$(CARGO) bench --locked --bench parts --bench allocations -- $(BENCH_OPTIONS)

bench-cache: ## measure the cache file with a million entries in it
	$(CARGO) build --release --locked --example slowsync
	$(CARGO) bench --locked --bench cache_file

install: ## install the built binary, the manual pages and the examples
	@test -x "$(BINARY)" || { echo "$(BINARY) is not there: run 'make build' first" >&2; exit 1; }
	@test -n "$(DAEMON_DIR)" || { echo "no Postfix here: give DAEMON_DIR=" >&2; exit 1; }
	install -d "$(DESTDIR)$(DAEMON_DIR)" "$(DESTDIR)$(MANDIR)/man5" \
		"$(DESTDIR)$(MANDIR)/man8" "$(DESTDIR)$(DOCDIR)"
# Under a new name first: the old program may be running.
	install -m 755 "$(BINARY)" "$(DESTDIR)$(DAEMON_DIR)/gatepost.new"
	mv -f "$(DESTDIR)$(DAEMON_DIR)/gatepost.new" "$(DESTDIR)$(DAEMON_DIR)/gatepost"
	install -m 644 man/gatepost.5 "$(DESTDIR)$(MANDIR)/man5/"
	install -m 644 man/gatepost.8 "$(DESTDIR)$(MANDIR)/man8/"
	install -m 644 $(EXAMPLES) "$(DESTDIR)$(DOCDIR)/"
ifneq ($(META_DIR),)
# So that `postfix set-permissions` knows the file.
	install -d "$(DESTDIR)$(META_DIR)/postfix-files.d"
	echo '$$daemon_directory/gatepost:f:root:-:755' \
		>"$(DESTDIR)$(META_DIR)/postfix-files.d/gatepost.files"
	chmod 644 "$(DESTDIR)$(META_DIR)/postfix-files.d/gatepost.files"
endif

uninstall: ## remove what install installed
	rm -f "$(DESTDIR)$(DAEMON_DIR)/gatepost" "$(DESTDIR)$(MANDIR)/man5/gatepost.5" \
		"$(DESTDIR)$(MANDIR)/man8/gatepost.8" $(EXAMPLES:%="$(DESTDIR)$(DOCDIR)/%")
	rmdir "$(DESTDIR)$(DOCDIR)" 2>/dev/null || true
ifneq ($(META_DIR),)
	rm -f "$(DESTDIR)$(META_DIR)/postfix-files.d/gatepost.files"
endif

clean: ## remove what was built, and the instance of `make run`
	$(CARGO) clean
	scripts/clean-run.sh

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile
