# Everything that a developer of Millrace runs. `make help` lists it.

# Tools, pinned, installed to .bin/ when they are missing.
BUF_VERSION           := v1.75.0
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GRPC       := v1.6.2
GRPC_GATEWAY_VERSION  := v2.32.0
GOLANGCI_VERSION      := v2.15.0
GOTESTSUM_VERSION     := v1.13.0
JAEGER_VERSION        := v1.76.0

BIN     := $(CURDIR)/.bin
TAGS    := duckdb_arrow,minicore_disabled
GO      := go

# DuckDB's Arrow interface stands behind a build tag. Without the other, Snowflake's client loads a library of its own into the
# process when it starts.
export GOFLAGS = -tags=$(TAGS)
# Installed tools live outside the workspace; the Go toolchain is the one at hand.
INSTALL := GOBIN=$(BIN) GOWORK=off GOFLAGS= $(GO) install

# Services that are built without cgo: no DuckDB in them.
PURE    := config scheduler mapper ingestion trace gateway
# Packages with goroutines of their own, tested with the race detector too.
RACE    := ./pkg/app/... ./pkg/bus/... ./pkg/quota/... ./pkg/rpc/... ./pkg/store/pebble/... ./services/mapper/... ./services/ingestion/... ./services/trace/... ./services/gateway/... ./pkg/telemetry/...

.DEFAULT_GOAL := help
.PHONY: help demo test race lint gen check-gen bench e2e browser soak mutants fuzz build dev standalone tools clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## build, load a sample warehouse into the platform, show what came in (KEEP=1 leaves it running)
	@test -x bin/millrace || echo "Building Millrace. The first build compiles DuckDB's bindings, NATS and Arrow and takes some minutes."
	@$(MAKE) --no-print-directory bin/millrace
	@bin/millrace demo --run $(if $(KEEP),--keep)

test: $(BIN)/gotestsum ## all tests, on real PostgreSQL, Redis and NATS (found or installed)
	@$(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .bin/test.json -- -timeout 20m $$($(GO) list ./gen/... ./pkg/... ./services/... | grep -v /services/e2e)
	@$(MAKE) --no-print-directory race e2e browser mutants no-skips

race: $(BIN)/gotestsum ## the packages with goroutines of their own, with the race detector
	@$(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .bin/race.json -- -race -short -timeout 20m $(RACE)

.PHONY: no-skips
no-skips:
	@if grep -h '"Action":"skip"' .bin/test.json .bin/race.json .bin/e2e.json .bin/browser.json .bin/mutants.json | grep '"Test":'; then echo "The tests above were skipped."; test "$$CI" != true; fi

e2e: $(BIN)/gotestsum ## whole meshes alone: scenarios, kill points, faults and random histories, in their short form
	@$(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .bin/e2e.json -- -p 1 -parallel 6 -count=1 -timeout 30m ./services/e2e ./services/e2e/histories

browser: $(BIN)/gotestsum ## walks through the console with a Chromium (found, or installed on Debian); pictures in .bin/screenshots
	@$(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .bin/browser.json -- -parallel 4 -count=1 -timeout 10m ./services/e2e/browser

# In the folder of a package go test shows what a test that passes prints.
soak: ## the long forms: 2,000 random histories with faults (SEEDS), random kills for 5m (KILLS_FOR); prints what was lost
	@cd services/e2e/histories && MILLRACE_SEEDS=$(or $(SEEDS),2000) $(GO) test -count=1 -parallel 4 -timeout 6h -run "^TestHistories"
	@cd services/e2e && MILLRACE_KILLS_FOR=$(or $(KILLS_FOR),5m) $(GO) test -count=1 -timeout 1h -run "^TestRandomKills|^TestRecoveryOfASingleKill"

bench: bin/millrace ## measure: ceilings first, then workloads (FULL=1: every size; ONLY=IM SIZES=2M,10M: those); writes bench.json (OUT)
	@$(GO) run ./services/e2e/bench $(if $(FULL),--full) $(if $(ONLY),--only $(ONLY)) $(if $(SIZES),--sizes $(SIZES)) --out $(or $(OUT),bench.json)

PICTURES := services/gateway/console/pictures
.PHONY: pictures
pictures: ## take the README's pictures of the console anew
	@$(GO) test -count=1 -run '^TestPictures$$' ./services/e2e/browser
	@mkdir -p $(PICTURES) && for f in .bin/screenshots/TestPictures-*.png; do cp "$$f" "$(PICTURES)/$${f##*TestPictures-}"; done

mutants: $(BIN)/gotestsum ## break the code on purpose, rule by rule: a test must find each out
	@$(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .bin/mutants.json -- -count=1 -timeout 20m ./services/e2e/mutants

.PHONY: jaeger
jaeger: $(BIN)/jaeger ## compare the traces that Jaeger shows of runs with those that the trace service keeps (builds Jaeger)
	@$(GO) test -tags=$(TAGS),jaeger -count=1 -timeout 10m -v -run '^TestJaeger' ./services/e2e

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' pkg services | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$p/*_test.go | sed 's/func //'); do \
	    echo "$$p $$f"; $(GO) test ./$$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1x || exit 1; done; done

lint: $(BIN)/golangci-lint $(BIN)/buf ## golangci-lint over pkg and services, buf lint and breaking changes
	@$(BIN)/buf lint
	@if git rev-parse -q --verify origin/main >/dev/null; then $(BIN)/buf breaking --against '.git#ref=refs/remotes/origin/main'; fi
	@cd pkg && $(BIN)/golangci-lint run ./...
	@cd services && $(BIN)/golangci-lint run ./...

GENERATORS := $(addprefix $(BIN)/,protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2)

gen: $(BIN)/buf $(GENERATORS) ## generate gen/ and the OpenAPI document from proto/ and services/gateway/rest.yaml
	@$(BIN)/buf format -w && $(BIN)/buf generate
	@$(GO) run ./services/gateway/openapi $(BIN)/millrace.swagger.json services/gateway/openapi.json

check-gen: gen ## fail when what is generated is not what proto/ says
	@git diff --exit-code -- gen proto services/gateway/openapi.json || { echo "gen/ differs from proto/: run make gen and commit."; exit 1; }
	@test -z "$$(git status --porcelain -- gen)" || { echo "gen/ has files that are not committed."; exit 1; }

build: ## every binary into bin/, the CLI as bin/millrace
	@mkdir -p bin && $(GO) build -o bin/ $$($(GO) list ./services/... | grep '/cmd/')

.PHONY: bin/millrace
bin/millrace:
	@mkdir -p bin && $(GO) build -o bin/millrace ./services/millrace/cmd/millrace

standalone: ## each module by itself (GOWORK=off), and the services without cgo
	@for m in gen pkg services; do echo "GOWORK=off $$m"; (cd $$m && GOWORK=off $(GO) build ./...) || exit 1; done
	@for s in $(PURE) extractor; do echo "CGO_ENABLED=0 $$s"; CGO_ENABLED=0 $(GO) build -o /dev/null ./services/$$s/cmd/$$s || exit 1; done

dev: bin/millrace ## run every service in one process, logs in words
	@bin/millrace up --log-level debug --log-format text

tools: $(BIN)/buf $(GENERATORS) $(BIN)/golangci-lint $(BIN)/gotestsum ## install the pinned tools to .bin/

clean: ## remove bin/, .bin/ and what the demo left
	@rm -rf bin .bin millrace-data millrace-demo bench.json

# Jaeger is in no go.mod of ours. Its own go.sum has what the checksum database lacks.
$(BIN)/jaeger:
	@echo "Building Jaeger $(JAEGER_VERSION); it takes some minutes."
	@dir=$$(mktemp -d) && cd $$dir && export GOWORK=off GOFLAGS=-mod=mod && $(GO) mod init jaeger 2>/dev/null && \
	  $(GO) get github.com/jaegertracing/jaeger@$(JAEGER_VERSION) 2>/dev/null && \
	  cat "$$($(GO) list -m -f '{{.Dir}}' github.com/jaegertracing/jaeger)/go.sum" >> go.sum && \
	  $(GO) build -o $(BIN)/jaeger github.com/jaegertracing/jaeger/cmd/all-in-one && rm -rf $$dir

$(BIN)/buf:
	@echo "Installing buf $(BUF_VERSION); it takes some minutes."
	@$(INSTALL) github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)
$(BIN)/protoc-gen-go:
	@$(INSTALL) google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)
$(BIN)/protoc-gen-go-grpc:
	@$(INSTALL) google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GRPC)
$(BIN)/protoc-gen-grpc-gateway $(BIN)/protoc-gen-openapiv2:
	@$(INSTALL) github.com/grpc-ecosystem/grpc-gateway/v2/$(@F)@$(GRPC_GATEWAY_VERSION)
$(BIN)/golangci-lint:
	@echo "Installing golangci-lint $(GOLANGCI_VERSION); it takes some minutes."
	@$(INSTALL) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
$(BIN)/gotestsum:
	@$(INSTALL) gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
