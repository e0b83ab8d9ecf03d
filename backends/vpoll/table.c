/*
 * Which of this process's descriptors have something behind them that they cannot tell of
 * themselves: emulations and patched eventfds.
 *
 * By number, and numbers come back: an object is believed only if the descriptor is still its file.
 * So a plain close(2) is safe.  What such an object held is given back when its number is used for
 * another, or at the end of the process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/vpoll/provider.h"

enum {
    NUMBERS_FIRST = 64,
};

/* Guarded by tocsin__vpoll_lock(). */
static struct tocsin__vpoll_object **objects;
static size_t objects_count;
static const struct tocsin__vpoll_object_ops *ops; /* those of the process's provider */

static int grow(int fd)
{
    size_t count = objects_count == 0 ? NUMBERS_FIRST : objects_count;
    struct tocsin__vpoll_object **grown;

    while (count <= (size_t)fd) {
        count *= 2;
    }
    grown = realloc(objects, count * sizeof(struct tocsin__vpoll_object *));
    if (grown == NULL) {
        return -ENOMEM;
    }
    memset(grown + objects_count, 0,
           (count - objects_count) * sizeof(struct tocsin__vpoll_object *));
    objects = grown;
    objects_count = count;
    return 0;
}

int tocsin__vpoll_table_put(int fd, struct tocsin__vpoll_object *object)
{
    int r = (size_t)fd < objects_count ? 0 : grow(fd);

    if (r == 0) {
        if (objects[fd] != NULL) {
            tocsin__vpoll_table_remove(objects[fd]); /* its descriptor was closed */
        }
        objects[fd] = object;
        ops = object->ops;
    }
    return r;
}

struct tocsin__vpoll_object *tocsin__vpoll_table_get(int fd)
{
    uint64_t identity;

    if (ops == NULL || ops->identify(fd, &identity) < 0) {
        return NULL;
    }
    if (fd >= 0 && (size_t)fd < objects_count && objects[fd] != NULL &&
        objects[fd]->identity == identity) {
        return objects[fd];
    }
    for (size_t i = 0; i < objects_count; i++) { /* a dup(2), or a descriptor that was moved */
        if (objects[i] != NULL && objects[i]->identity == identity) {
            return objects[i];
        }
    }
    return NULL;
}

void tocsin__vpoll_table_remove(struct tocsin__vpoll_object *object)
{
    for (size_t i = 0; i < objects_count; i++) {
        if (objects[i] == object) {
            objects[i] = NULL;
        }
    }
    object->ops->forget(object);
}
