/*
 * decrypt.c - payloads as the API encrypts them: base64(iv) "." base64(text).
 *
 * AES-CBC with PKCS#7 padding, by libcrypto; the key's length picks the
 * cipher, in practice AES-128.  Base64 as browsers read it: white space is
 * passed over, padding may be missing.  Bytes that are not UTF-8 become
 * U+FFFD.
 */

#include "conformance.h"

#include <openssl/evp.h>


#define BYTES_MAX (1 << 20)


static int
digit_of(char ch)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = ch != '\0' ? strchr(digits, ch) : NULL;

    return p != NULL ? (int) (p - digits) : -1;
}


/* The bytes, or -1. */
static int
decode(const char *text, size_t len, unsigned char *out)
{
    char    *clean;
    int      n = 0;
    size_t   i, count = 0;
    uint32_t bits = 0;

    clean = malloc(len + 1);

    for (i = 0; i < len; i++) {
        if (strchr(" \t\n\f\r", text[i]) == NULL) {
            clean[count++] = text[i];
        }
    }

    if (count % 4 == 0 && count > 0 && clean[count - 1] == '=') {
        count -= clean[count - 2] == '=' ? 2 : 1;
    }

    for (i = 0; i < count && count % 4 != 1; i++) {
        if (digit_of(clean[i]) < 0) {
            break;
        }
        bits = bits << 6 | (uint32_t) digit_of(clean[i]);
        if (i % 4 != 0) {
            out[n++] = (unsigned char) (bits >> (6 - i % 4 * 2));
        }
    }

    free(clean);

    return i == count && count % 4 != 1 ? n : -1;
}


static json_t *
text_of(const unsigned char *bytes, size_t len)
{
    char    *text = malloc(len * 3 + 1);
    size_t   i, n, used = 0;
    json_t  *json;
    uint32_t point;

    for (i = 0; i < len; i += n) {
        n = personalize_decode((const char *) bytes + i, len - i, &point);
        if (n == 1 && point == 0xfffd) {
            memcpy(text + used, "\xef\xbf\xbd", 3);
            used += 3;
        } else {
            memcpy(text + used, bytes + i, n);
            used += n;
        }
    }

    json = json_stringn_nocheck(text, used);
    free(text);

    return json;
}


json_t *
decrypt_text(const char *encrypted, const char *key)
{
    static unsigned char secret[BYTES_MAX], iv[BYTES_MAX], in[BYTES_MAX];
    static unsigned char out[BYTES_MAX + 16];

    int               nkey, niv, nin, n, last, ok;
    size_t            len;
    const char       *dot = strchr(encrypted, '.');
    EVP_CIPHER_CTX   *cipher;
    const EVP_CIPHER *type;

    if (dot == NULL || strlen(encrypted) >= BYTES_MAX
        || strlen(key) >= BYTES_MAX) {
        return NULL;
    }

    len = strcspn(dot + 1, ".");
    nkey = decode(key, strlen(key), secret);
    niv = decode(encrypted, (size_t) (dot - encrypted), iv);
    nin = decode(dot + 1, len, in);
    type = nkey == 16   ? EVP_aes_128_cbc()
           : nkey == 24 ? EVP_aes_192_cbc()
           : nkey == 32 ? EVP_aes_256_cbc()
                        : NULL;

    if (type == NULL || niv != 16 || nin < 0) {
        return NULL;
    }

    cipher = EVP_CIPHER_CTX_new();
    ok = cipher != NULL
         && EVP_DecryptInit_ex(cipher, type, NULL, secret, iv) == 1
         && EVP_DecryptUpdate(cipher, out, &n, in, nin) == 1
         && EVP_DecryptFinal_ex(cipher, out + n, &last) == 1;
    EVP_CIPHER_CTX_free(cipher);

    return ok ? text_of(out, (size_t) n + (size_t) last) : NULL;
}
