/*
 * System calls that a filter refuses, as containers' filters do: by seccomp.
 */
#ifndef TOCSIN_CONFORM_DENY_H
#define TOCSIN_CONFORM_DENY_H

enum {
    DENY_KILLS = -1, /* whoever makes the call does not survive it */
};

struct deny {
    int number; /* of the call */
    int error;  /* errno that it answers, or DENY_KILLS; 0: no call is refused */
};

/* "io_uring_setup=EPERM" and the like.  Returns: 0, or -EINVAL: not among those that are known. */
int deny_parse(const char *text, struct deny *out_deny);

/*
 * From here on @deny holds for this process and its children.  Returns: 0, or a negative errno: no
 * filters here.
 */
int deny_install(const struct deny *deny);

#endif
