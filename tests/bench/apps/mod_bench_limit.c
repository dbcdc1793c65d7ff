/* The limit: what a handler inside httpd can do, with no backend at all.
 * /hello and /bytes/N answer, /upload reads the body and tells its length. */

#include <stdlib.h>
#include <string.h>

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"
#include "util_filter.h"

static int count_body(request_rec *r, apr_off_t *total)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    int done = 0;

    *total = 0;
    while (!done) {
        apr_bucket *b;
        if (ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * 1024) != APR_SUCCESS)
            return 0;
        for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
            const char *data;
            apr_size_t len;
            if (APR_BUCKET_IS_EOS(b)) {
                done = 1;
            } else if (!APR_BUCKET_IS_METADATA(b)) {
                if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS)
                    return 0;
                *total += len;
            }
        }
        apr_brigade_cleanup(bb);
    }
    return 1;
}

static int limit_handler(request_rec *r)
{
    static const char hello[] = "Hello, world!\n";

    if (r->handler == NULL || strcmp(r->handler, "bench-limit") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    if (strcmp(r->uri, "/hello") == 0) {
        ap_set_content_length(r, sizeof(hello) - 1);
        ap_rwrite(hello, sizeof(hello) - 1, r);
        return OK;
    }
    if (strncmp(r->uri, "/bytes/", 7) == 0) {
        int length = atoi(r->uri + 7);
        char *body = apr_pcalloc(r->pool, length);
        ap_set_content_length(r, length);
        ap_rwrite(body, length, r);
        return OK;
    }
    if (strcmp(r->uri, "/upload") == 0) {
        apr_off_t total;
        if (!count_body(r, &total))
            return HTTP_BAD_REQUEST;
        ap_set_content_length(r, 13);
        ap_rprintf(r, "%12" APR_OFF_T_FMT "\n", total);
        return OK;
    }
    return HTTP_NOT_FOUND;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(limit_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(bench_limit) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks};
