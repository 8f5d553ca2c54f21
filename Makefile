# Makefile - thin: each target calls the folder that knows how.

PYTHON   = /usr/bin/python3
BUILD    = build
NGX_SRC  = /usr/share/nginx/src

CRM_CFLAGS = -std=gnu11 -O2 -g -W -Wall -Wextra -Werror -Wvla \
             -Wstrict-prototypes -Wmissing-prototypes -fvisibility=hidden \
             -fstack-protector-strong -D_FORTIFY_SOURCE=2 -D_GNU_SOURCE
SANITIZE   = -fsanitize=address,undefined -fno-sanitize-recover=undefined \
             -fno-omit-frame-pointer
CRM_LIBS   = -lpq -lhiredis -ljansson -lcrypto -lpcre2-8 -lz -lm
PG_INC     = -I/usr/include/postgresql

CORES    = $(wildcard tracker/*.c personalize/*.c)
ADAPTER  = $(wildcard ngx_crm_module/*.c)
MINE     = $(wildcard mining/*.c mining/learn/*.c)
HEADERS  = $(wildcard tracker/*.h personalize/*.h ngx_crm_module/*.h)

.PHONY: all module mine test-build demo up down test unit lint browser bench fuzz \
        proof conformance mustache install clean deps deps-test deps-bench

all: module mine

# ---- what is built -------------------------------------------------------

module: deps $(BUILD)/ngx_http_crm_module.so
mine: deps
	@$(MAKE) -s -j2 $(BUILD)/crm-mine
test-build: $(BUILD)/asan/ngx_http_crm_module.so
	@$(MAKE) -s -j2 $(BUILD)/asan/crm-mine $(BUILD)/asan/mining.a

$(BUILD)/ngx_http_crm_module.so: config ngx_crm_module/build $(ADAPTER) $(CORES) $(HEADERS)
	ngx_crm_module/build $(BUILD)/nginx $@ ""

$(BUILD)/asan/ngx_http_crm_module.so: config ngx_crm_module/build $(ADAPTER) $(CORES) $(HEADERS)
	ngx_crm_module/build $(BUILD)/asan/nginx $@ "$(SANITIZE) -O1"

# One object per source file, beside them what it includes (-MMD).
$(BUILD)/crm-mine: $(MINE:%.c=$(BUILD)/obj/%.o) $(CORES:%.c=$(BUILD)/obj/%.o)
	$(CC) -o $@ $^ $(CRM_LIBS)

$(BUILD)/asan/crm-mine: $(MINE:%.c=$(BUILD)/asan/obj/%.o) $(BUILD)/asan/tracker.a \
                        $(BUILD)/asan/personalize.a
	$(CC) $(SANITIZE) -o $@ $^ $(CRM_LIBS)

# What the unit tests of a folder link.
$(BUILD)/asan/%.a:
	rm -f $@
	ar rcs $@ $^
$(BUILD)/asan/mining.a: $(patsubst %.c,$(BUILD)/asan/obj/%.o,$(filter-out mining/main.c,$(MINE) $(CORES)))
$(BUILD)/asan/tracker.a: $(patsubst %.c,$(BUILD)/asan/obj/%.o,$(filter tracker/%,$(CORES)))
$(BUILD)/asan/personalize.a: $(patsubst %.c,$(BUILD)/asan/obj/%.o,$(filter personalize/%,$(CORES)))

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CRM_CFLAGS) $(PG_INC) -MMD -MP -c -o $@ $<

$(BUILD)/asan/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2 -D_FORTIFY_SOURCE=2,$(CRM_CFLAGS)) -O1 $(SANITIZE) \
	    $(PG_INC) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj $(BUILD)/asan/obj -name '*.d' 2>/dev/null)

deps:
	@demo/packages demo/packages.txt

deps-test:
	@demo/packages demo/packages.txt tests/packages.txt

# ---- proofs --------------------------------------------------------------

test: deps deps-test module mine test-build
	tests/run

unit: deps deps-test
	tests/unit/run

lint: deps deps-test module
	tests/gates/lint

browser: deps deps-test test-build
	tests/browser/run

fuzz: deps deps-test
	tests/fuzz/run -s 60

proof: deps deps-test module mine test-build
	$(PYTHON) -m pytest -q -p no:cacheprovider -m proof tests/system

# CASES: a case file of the GrowthBook SDK specification.
conformance: deps
	@$(MAKE) -s -j2 $(BUILD)/conformance
	@$(BUILD)/conformance $(CASES)

$(BUILD)/conformance: $(filter-out %/mustache.c,$(wildcard tests/conformance/*.c)) \
                      $(patsubst %.c,$(BUILD)/obj/%.o,$(filter personalize/%,$(CORES)))
	$(CC) $(CRM_CFLAGS) -I. -o $@ $^ $(CRM_LIBS)

# CASES: a folder with case files of the Mustache specification; else ours.
mustache: deps
	@$(MAKE) -s -j2 $(BUILD)/mustache
	@$(BUILD)/mustache $(if $(CASES),$(CASES)/*.json,tests/conformance/mustache.json)

$(BUILD)/mustache: tests/conformance/mustache.c \
                   $(patsubst %.c,$(BUILD)/obj/%.o,$(filter personalize/%,$(CORES)))
	$(CC) $(CRM_CFLAGS) -I. -o $@ $^ $(CRM_LIBS)

bench: deps deps-bench module mine $(BUILD)/micro $(BUILD)/bots
	bench/run

deps-bench:
	@demo/packages bench/packages.txt

$(BUILD)/micro $(BUILD)/bots: $(BUILD)/%: bench/%.c $(CORES:%.c=$(BUILD)/obj/%.o)
	$(CC) $(CRM_CFLAGS) -I. -o $@ $^ $(CRM_LIBS)

install: module mine
	install -d $(DESTDIR)/usr/lib/nginx/modules $(DESTDIR)/usr/bin \
	    $(DESTDIR)/usr/share/ngx_crm/migrations
	install -m 644 $(BUILD)/ngx_http_crm_module.so \
	    $(DESTDIR)/usr/lib/nginx/modules/.ngx_http_crm_module.so.new
	mv $(DESTDIR)/usr/lib/nginx/modules/.ngx_http_crm_module.so.new \
	    $(DESTDIR)/usr/lib/nginx/modules/ngx_http_crm_module.so
	install -m 755 $(BUILD)/crm-mine $(DESTDIR)/usr/bin/crm-mine
	install -m 644 tracker/client/crm.js $(DESTDIR)/usr/share/ngx_crm/
	install -m 644 schema/migrations/*.sql \
	    $(DESTDIR)/usr/share/ngx_crm/migrations
	install -m 644 tracker/bots.list $(DESTDIR)/usr/share/ngx_crm/bots.list
	install -m 755 tracker/bots-import $(DESTDIR)/usr/share/ngx_crm/bots-import
	install -d $(DESTDIR)/usr/lib/systemd/system
	install -m 644 mining/crm-mine-run@.service mining/crm-mine-run@.timer \
	    $(DESTDIR)/usr/lib/systemd/system

clean:
	rm -rf $(BUILD)

# ---- the demo ------------------------------------------------------------

demo: deps
	@demo/demo

up: deps
	@demo/demo --no-replay

down:
	@demo/stack.py down
