/*
 * Posts: plain callbacks, run once, from the pool's memory.
 *
 * A post is queued as a task is, and costs no allocation while ended ones are at hand.  When the
 * pool closes before its turn it is told -ECANCELED, so its argument is never lost.
 */
#include <errno.h>

#include "runtime/pool.h"

enum {
    SPARE_MAX = 1024, /* ended posts kept for the pool's own thread: 32 KiB */
};

struct post {
    struct tocsin_item_ item;
    tocsin_post_fn *fn;
    void *arg;
};

static struct post *take_here(struct tocsin_pool *pool)
{
    struct tocsin_item_ *item = pool->spare_posts;

    if (item == NULL) {
        return tocsin__alloc(pool, sizeof(struct post));
    }
    pool->spare_posts = item->next_;
    pool->spare_posts_count--;
    return (struct post *)(void *)item; /* the item is the first member */
}

int tocsin_post(struct tocsin_driver *driver, tocsin_post_fn *fn, void *arg)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    bool here = tocsin__is_here(pool);
    struct post *post;

    if (fn == NULL) {
        return -EINVAL;
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (tocsin__inbox_is_closed(&pool->inbox)) {
        return -ESHUTDOWN;
    }
    post = here ? take_here(pool) : tocsin__alloc(pool, sizeof(*post));
    if (post == NULL) {
        return -ENOMEM;
    }
    post->item.kind_ = TOCSIN__ITEM_POST;
    post->fn = fn;
    post->arg = arg;
    if (here) {
        pool->alive++;
        tocsin__queue_push(&pool->queue, &post->item);
        return 0;
    }
    if (!tocsin__inbox_push(&pool->inbox, &post->item)) {
        tocsin__free(pool, post);
        return -ESHUTDOWN;
    }
    tocsin__pool_wake(pool);
    return 0;
}

void tocsin__post_run(struct tocsin_pool *pool, struct tocsin_item_ *item, int status)
{
    struct post *post = (struct post *)(void *)item;
    tocsin_post_fn *fn = post->fn;
    void *arg = post->arg;

    if (pool->spare_posts_count < SPARE_MAX) {
        item->next_ = pool->spare_posts;
        pool->spare_posts = item;
        pool->spare_posts_count++;
    } else {
        tocsin__free(pool, post);
    }
    fn(arg, status);
    pool->alive--;
}

void tocsin__posts_free(struct tocsin_pool *pool)
{
    struct tocsin_item_ *item = pool->spare_posts;

    pool->spare_posts = NULL;
    pool->spare_posts_count = 0;
    while (item != NULL) {
        struct tocsin_item_ *next = item->next_;

        tocsin__free(pool, item);
        item = next;
    }
}
