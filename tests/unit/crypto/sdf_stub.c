/*
 * A device of SDF (GM/T 0018) in software, for tests: SM2 keys by number, each under a password.
 *
 * It holds what the file that SDF_STUB_KEYS names says, one key a line: number, password without
 * spaces, 64 hex digits of the private scalar. The arithmetic is libcrypto's (OpenSSL 3). A key
 * signs only once its password was given in the session; three wrong ones lock it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define OK 0
#define UNKNOWERR 0x01000001
#define OPENDEVICE 0x01000005
#define PARDENY 0x01000007
#define KEYNOTEXIST 0x01000008
#define SIGNERR 0x0100000D
#define PRKRERR 0x01000018
#define INARGERR 0x0100001D

#define FIELD 64
#define SCALAR 32
#define KEYS_MAX 16
#ifdef HIGH_FIRST /* as some makers have it, and the standard has not */
#define SCALAR_AT 0
#else
#define SCALAR_AT (FIELD - SCALAR)
#endif
#define TRIES_MAX 3

typedef struct {
    unsigned int bits;
    unsigned char x[FIELD];
    unsigned char y[FIELD];
} ECCrefPublicKey;

typedef struct {
    unsigned char r[FIELD];
    unsigned char s[FIELD];
} ECCSignature;

typedef struct {
    unsigned int number;
    char password[128];
    unsigned char secret[SCALAR];
    int wrong;
} Key;

typedef struct {
    Key keys[KEYS_MAX];
    int count;
} Device;

typedef struct {
    Device *device;
    int is_allowed[KEYS_MAX];
} Session;

static int read_hex(const char *digits, unsigned char *bytes) {
    for (int at = 0; at < SCALAR; at += 1) {
        unsigned int byte;
        if (sscanf(digits + 2 * at, "%2x", &byte) != 1) return 0;
        bytes[at] = (unsigned char)byte;
    }
    return 1;
}

int SDF_OpenDevice(void **handle) {
    const char *path = getenv("SDF_STUB_KEYS");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    if (file == NULL) return OPENDEVICE;
    Device *device = calloc(1, sizeof *device);
    char digits[2 * SCALAR + 1];
    while (device->count < KEYS_MAX) {
        Key *key = &device->keys[device->count];
        if (fscanf(file, "%u %127s %64s", &key->number, key->password, digits) != 3) break;
        if (strlen(digits) != 2 * SCALAR || !read_hex(digits, key->secret)) break;
        device->count += 1;
    }
    fclose(file);
    *handle = device;
    return OK;
}

int SDF_CloseDevice(void *handle) {
    OPENSSL_cleanse(handle, sizeof(Device));
    free(handle);
    return OK;
}

int SDF_OpenSession(void *device, void **handle) {
    Session *session = calloc(1, sizeof *session);
    session->device = device;
    *handle = session;
    return OK;
}

int SDF_CloseSession(void *handle) {
    free(handle);
    return OK;
}

static int find(const Session *session, unsigned int number) {
    for (int at = 0; at < session->device->count; at += 1)
        if (session->device->keys[at].number == number) return at;
    return -1;
}

static EVP_PKEY *load(const Key *key) {
    /* ECPrivateKey (RFC 5915) around the scalar, naming the curve sm2p256v1. */
    static const unsigned char head[] = {0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20};
    static const unsigned char tail[] = {0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x81,
                                         0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d};
    unsigned char encoded[sizeof head + SCALAR + sizeof tail];
    memcpy(encoded, head, sizeof head);
    memcpy(encoded + sizeof head, key->secret, SCALAR);
    memcpy(encoded + sizeof head + SCALAR, tail, sizeof tail);
    const unsigned char *at = encoded;
    EVP_PKEY *loaded = d2i_AutoPrivateKey(NULL, &at, sizeof encoded);
    OPENSSL_cleanse(encoded, sizeof encoded);
    return loaded;
}

int SDF_GetPrivateKeyAccessRight(void *handle, unsigned int number, unsigned char *password,
                                 unsigned int size) {
    Session *session = handle;
    int at = find(session, number);
    if (at < 0) return KEYNOTEXIST;
    Key *key = &session->device->keys[at];
    if (key->wrong >= TRIES_MAX) return PRKRERR;
    if (size != strlen(key->password) || CRYPTO_memcmp(password, key->password, size) != 0) {
        key->wrong += 1;
        return PRKRERR;
    }
    key->wrong = 0;
    session->is_allowed[at] = 1;
    return OK;
}

int SDF_ExportSignPublicKey_ECC(void *handle, unsigned int number, ECCrefPublicKey *out) {
    Session *session = handle;
    int at = find(session, number);
    if (at < 0) return KEYNOTEXIST;
    EVP_PKEY *key = load(&session->device->keys[at]);
    if (key == NULL) return UNKNOWERR;
    BIGNUM *x = NULL, *y = NULL;
    int is_read = EVP_PKEY_get_bn_param(key, "qx", &x) && EVP_PKEY_get_bn_param(key, "qy", &y);
    memset(out, 0, sizeof *out);
    out->bits = 8 * SCALAR;
    if (is_read) {
        BN_bn2binpad(x, out->x + SCALAR_AT, SCALAR);
        BN_bn2binpad(y, out->y + SCALAR_AT, SCALAR);
    }
    BN_free(x);
    BN_free(y);
    EVP_PKEY_free(key);
    return is_read ? OK : UNKNOWERR;
}

int SDF_InternalSign_ECC(void *handle, unsigned int number, unsigned char *data, unsigned int size,
                         ECCSignature *out) {
    Session *session = handle;
    int at = find(session, number);
    if (at < 0) return KEYNOTEXIST;
    if (!session->is_allowed[at]) return PARDENY;
    if (size != SCALAR) return INARGERR;
    EVP_PKEY *key = load(&session->device->keys[at]);
    EVP_PKEY_CTX *context = key == NULL ? NULL : EVP_PKEY_CTX_new(key, NULL);
    unsigned char encoded[80];
    size_t length = sizeof encoded;
    int is_signed = context != NULL && EVP_PKEY_sign_init(context) == 1 &&
                    EVP_PKEY_sign(context, encoded, &length, data, size) == 1;
    const unsigned char *from = encoded;
    ECDSA_SIG *made = is_signed ? d2i_ECDSA_SIG(NULL, &from, (long)length) : NULL;
    memset(out, 0, sizeof *out);
    if (made != NULL) {
        BN_bn2binpad(ECDSA_SIG_get0_r(made), out->r + SCALAR_AT, SCALAR);
        BN_bn2binpad(ECDSA_SIG_get0_s(made), out->s + SCALAR_AT, SCALAR);
    }
    ECDSA_SIG_free(made);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    return made == NULL ? SIGNERR : OK;
}
