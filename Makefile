# Makefile - thin: each target calls the folder that knows how.

PYTHON   = /usr/bin/python3
BUILD    = build
NGX_SRC  = /usr/share/nginx/src

CRM_CFLAGS = -std=gnu11 -O2 -g -W -Wall -Wextra -Werror -Wvla \
             -Wstrict-prototypes -Wmissing-prototypes -fvisibility=hidden \
             -fstack-protector-strong -D_FORTIFY_SOURCE=2 -D_GNU_SOURCE
SANITIZE   = -fsanitize=address,undefined -fno-sanitize-recover=undefined \
             -fno-omit-frame-pointer
CRM_LIBS   = -lpq -lhiredis -ljansson -lcrypto -lz -lm
PG_INC     = -I/usr/include/postgresql

CORES    = $(wildcard tracker/*.c personalize/*.c)
ADAPTER  = $(wildcard ngx_crm_module/*.c)
MINE     = $(wildcard mining/*.c)
HEADERS  = $(wildcard tracker/*.h personalize/*.h ngx_crm_module/*.h mining/*.h)

.PHONY: all module mine test-build demo up down test unit check bench fuzz \
        proof install clean deps deps-test

all: module mine

# ---- what is built -------------------------------------------------------

module: deps $(BUILD)/ngx_http_crm_module.so
mine: deps $(BUILD)/crm-mine
test-build: $(BUILD)/asan/ngx_http_crm_module.so $(BUILD)/asan/crm-mine

$(BUILD)/ngx_http_crm_module.so: config $(ADAPTER) $(CORES) $(HEADERS)
	ngx_crm_module/build $(BUILD)/nginx $@ ""

$(BUILD)/asan/ngx_http_crm_module.so: config $(ADAPTER) $(CORES) $(HEADERS)
	ngx_crm_module/build $(BUILD)/asan/nginx $@ "$(SANITIZE) -O1"

$(BUILD)/crm-mine: $(MINE) $(CORES) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CRM_CFLAGS) $(PG_INC) -o $@ $(MINE) $(CORES) $(CRM_LIBS)

$(BUILD)/asan/crm-mine: $(MINE) $(CORES) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2 -D_FORTIFY_SOURCE=2,$(CRM_CFLAGS)) -O1 $(SANITIZE) \
	    $(PG_INC) -o $@ $(MINE) $(CORES) $(CRM_LIBS)

deps:
	@demo/packages demo/packages.txt

deps-test:
	@demo/packages demo/packages.txt tests/packages.txt

clean:
	rm -rf $(BUILD)
