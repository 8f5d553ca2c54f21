/*
 * profile.c - the attributes of one visitor, packed flat for shared memory.
 *
 *     blob    magic u32, nslots u32, slots u32[nslots], records
 *     record  value_len u32, type u8, path_len u8, path, value
 *     value   BOOL one byte, NUMBER a double, TEXT its bytes, LIST packed
 *     list    as value.c has it
 *
 * The slots are an open hash table of record offsets, at most half full; 0 is
 * an empty one.  All numbers have the machine's byte order and no alignment.
 * Reading trusts nothing: every offset and length is checked, so a damaged
 * blob costs attributes, never a wild read.  A path that occurs twice ("a.b"
 * beside a nested b) gives its first value.  What lies deeper than
 * PERSONALIZE_DEPTH_MAX or has a longer path than PERSONALIZE_PATH_MAX is left
 * out: no condition could name it.
 */

#include "set.h"


#define BLOB_MAGIC   0x32707263U /* "crp2" */
#define BLOB_HEADER  8           /* bytes: magic and nslots */
#define RECORD_FIXED 6           /* bytes: value_len, type and path_len */

typedef struct {
    char    *blob;
    size_t   size;
    size_t   used;
    uint32_t nslots;
    size_t   path_len;
    char     path[PERSONALIZE_PATH_MAX];
} packer_t;


static uint32_t
read_u32(const char *p)
{
    uint32_t n;

    memcpy(&n, p, sizeof(n));

    return n;
}


static void
write_u32(char *p, uint32_t n)
{
    memcpy(p, &n, sizeof(n));
}


/* Bounds the record at an offset of the blob; 0: it does not lie inside. */
static int
record_at(const char *blob, size_t len, size_t offset, personalize_str_t *path,
    personalize_str_t *value)
{
    size_t left;

    if (offset > len || len - offset < RECORD_FIXED) {
        return 0;
    }

    left = len - offset - RECORD_FIXED;
    path->data = blob + offset + RECORD_FIXED;
    path->len = (unsigned char) blob[offset + 5];
    value->len = read_u32(blob + offset);

    if (path->len > left || value->len > left - path->len) {
        return 0;
    }

    value->data = path->data + path->len;

    return 1;
}


static void
decode(unsigned type, personalize_str_t bytes, personalize_value_t *value)
{
    switch (type) {

    case PERSONALIZE_BOOL:
        if (bytes.len != 1) {
            return;
        }
        value->number = bytes.data[0] != 0;
        break;

    case PERSONALIZE_NUMBER:
        if (bytes.len != sizeof(double)) {
            return;
        }
        memcpy(&value->number, bytes.data, sizeof(double));
        break;

    case PERSONALIZE_TEXT:
    case PERSONALIZE_LIST:
        value->text = bytes;
        break;

    default:
        return;
    }

    value->type = (personalize_type_e) type;
}


void
personalize_profile_get(const char *blob, size_t len, personalize_str_t path,
    personalize_value_t *value)
{
    uint32_t          nslots, slot, probes, offset;
    personalize_str_t key, bytes;

    memset(value, 0, sizeof(personalize_value_t));

    if (len < BLOB_HEADER || read_u32(blob) != BLOB_MAGIC) {
        return;
    }

    nslots = read_u32(blob + 4);
    if (nslots == 0 || (nslots & (nslots - 1)) != 0
        || nslots > (len - BLOB_HEADER) / 4)
    {
        return;
    }

    slot = personalize_hash_key(path) & (nslots - 1);

    for (probes = 0; probes < nslots; probes++) {
        offset = read_u32(blob + BLOB_HEADER + (size_t) slot * 4);

        if (offset == 0 || !record_at(blob, len, offset, &key, &bytes)) {
            return;
        }

        if (personalize_str_equal(key, path)) {
            decode((unsigned char) blob[offset + 4], bytes, value);
            return;
        }

        slot = (slot + 1) & (nslots - 1);
    }
}


/* Writes all of a record but its value, which begins at packer->used then. */
static personalize_result_e
record_begin(packer_t *packer, personalize_type_e type, size_t *record)
{
    char *p;

    if (packer->size - packer->used < RECORD_FIXED + packer->path_len) {
        return PERSONALIZE_FULL;
    }

    p = packer->blob + packer->used;
    p[4] = (char) type;
    p[5] = (char) packer->path_len;
    memcpy(p + RECORD_FIXED, packer->path, packer->path_len);

    *record = packer->used;
    packer->used += RECORD_FIXED + packer->path_len;

    return PERSONALIZE_OK;
}


static void
record_end(packer_t *packer, size_t record)
{
    char             *slots = packer->blob + BLOB_HEADER;
    size_t            start;
    uint32_t          slot;
    personalize_str_t path;

    start = record + RECORD_FIXED + packer->path_len;
    write_u32(packer->blob + record, (uint32_t) (packer->used - start));

    path.data = packer->path;
    path.len = packer->path_len;
    slot = personalize_hash_key(path) & (packer->nslots - 1);

    while (read_u32(slots + (size_t) slot * 4) != 0) {
        slot = (slot + 1) & (packer->nslots - 1);
    }

    write_u32(slots + (size_t) slot * 4, (uint32_t) record);
}


static personalize_result_e
pack_bytes(
    packer_t *packer, personalize_type_e type, const void *data, size_t len)
{
    size_t               record;
    personalize_result_e rc;

    rc = record_begin(packer, type, &record);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (packer->size - packer->used < len) {
        return PERSONALIZE_FULL;
    }

    if (len > 0) {
        memcpy(packer->blob + packer->used, data, len);
    }

    packer->used += len;
    record_end(packer, record);

    return PERSONALIZE_OK;
}


static personalize_result_e
pack_list(packer_t *packer, json_t *list)
{
    char                *p;
    size_t               record;
    personalize_result_e rc;

    rc = record_begin(packer, PERSONALIZE_LIST, &record);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    p = personalize_pack_list(
        packer->blob + packer->used, packer->blob + packer->size, list);
    if (p == NULL) {
        return PERSONALIZE_FULL;
    }

    packer->used = (size_t) (p - packer->blob);
    record_end(packer, record);

    return PERSONALIZE_OK;
}


static personalize_result_e
pack_value(packer_t *packer, json_t *value)
{
    char   truth;
    double number;

    switch (json_typeof(value)) {

    case JSON_TRUE:
    case JSON_FALSE:
        truth = json_is_true(value);
        return pack_bytes(packer, PERSONALIZE_BOOL, &truth, 1);

    case JSON_INTEGER:
    case JSON_REAL:
        number = json_number_value(value);
        return pack_bytes(packer, PERSONALIZE_NUMBER, &number, sizeof(double));

    case JSON_STRING:
        return pack_bytes(packer, PERSONALIZE_TEXT, json_string_value(value),
            json_string_length(value));

    case JSON_ARRAY:
        return pack_list(packer, value);

    default: /* null: the same as a path that is not there */
        return PERSONALIZE_OK;
    }
}


/* Appends a member's name to the path; 0: the path would be too long. */
static int
path_push(packer_t *packer, const char *name, unsigned depth)
{
    size_t len, dot;

    len = strlen(name);
    dot = depth > 1;

    if (len + dot > PERSONALIZE_PATH_MAX - packer->path_len) {
        return 0;
    }

    if (dot) {
        packer->path[packer->path_len++] = '.';
    }

    memcpy(packer->path + packer->path_len, name, len);
    packer->path_len += len;

    return 1;
}


/* Recurses PERSONALIZE_DEPTH_MAX times at most. */
static personalize_result_e
pack_object(packer_t *packer, json_t *object, unsigned depth)
{
    void                *iter;
    size_t               path_len;
    json_t              *value;
    personalize_result_e rc;

    if (depth > PERSONALIZE_DEPTH_MAX) {
        return PERSONALIZE_OK;
    }

    path_len = packer->path_len;

    for (iter = json_object_iter(object); iter != NULL;
         iter = json_object_iter_next(object, iter))
    {
        if (!path_push(packer, json_object_iter_key(iter), depth)) {
            continue;
        }

        value = json_object_iter_value(iter);
        rc = json_is_object(value) ? pack_object(packer, value, depth + 1)
                                   : pack_value(packer, value);
        packer->path_len = path_len;

        if (rc != PERSONALIZE_OK) {
            return rc;
        }
    }

    return PERSONALIZE_OK;
}


static size_t
count_values(json_t *object, unsigned depth)
{
    void   *iter;
    size_t  n;
    json_t *value;

    if (depth > PERSONALIZE_DEPTH_MAX) {
        return 0;
    }

    n = 0;

    for (iter = json_object_iter(object); iter != NULL;
         iter = json_object_iter_next(object, iter))
    {
        value = json_object_iter_value(iter);
        n += json_is_object(value) ? count_values(value, depth + 1) : 1;
    }

    return n;
}


static personalize_result_e
pack_root(packer_t *packer, json_t *root)
{
    size_t nvalues, nslots;

    nvalues = count_values(root, 1);

    for (nslots = 1; nslots < nvalues * 2; nslots *= 2) {
        /* void */
    }

    if (packer->size < BLOB_HEADER || nslots > (packer->size - BLOB_HEADER) / 4)
    {
        return PERSONALIZE_FULL;
    }

    packer->nslots = (uint32_t) nslots;
    packer->used = BLOB_HEADER + nslots * 4;

    write_u32(packer->blob, BLOB_MAGIC);
    write_u32(packer->blob + 4, packer->nslots);
    memset(packer->blob + BLOB_HEADER, 0, nslots * 4);

    return pack_object(packer, root, 1);
}


personalize_result_e
personalize_profile_pack(
    const char *json, size_t len, char *blob, size_t size, size_t *used)
{
    json_t              *root;
    packer_t             packer;
    json_error_t         error;
    personalize_result_e rc;

    memset(&error, 0, sizeof(error));
    root = json_loadb(json, len, 0, &error);

    if (root == NULL) {
        /* some failed allocations leave no text */
        return error.text[0] == '\0'
                       || json_error_code(&error) == json_error_out_of_memory
                   ? PERSONALIZE_NOMEM
                   : PERSONALIZE_INVALID;
    }

    if (!json_is_object(root)) {
        json_decref(root);
        return PERSONALIZE_INVALID;
    }

    packer.blob = blob;
    packer.size = size < UINT32_MAX ? size : UINT32_MAX; /* offsets are u32 */
    packer.path_len = 0;
    rc = pack_root(&packer, root);
    json_decref(root);

    if (rc == PERSONALIZE_OK) {
        *used = packer.used;
    }

    return rc;
}
