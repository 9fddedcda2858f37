// Calls of preview 1 as no library makes them: too much, wrong, or at descriptors that are not there.
//
// Prints `CASE RESULT` with the errno of preview 1 as a number; 0 is success.
//
//   raw1 poll COUNT       one poll_oneoff over COUNT clocks, one of them due at once
//   raw1 random BYTES     one random_get of that many bytes
//   raw1 vectors COUNT    one fd_write with COUNT empty vectors
//   raw1 pointers         calls whose pointers lie outside of the memory
//   raw1 preopens         the preopened directories with their names
//   raw1 renumber         moves standard error over the first directory, then uses both
//   raw1 closed           closes every descriptor and uses each again
//   raw1 paths            path_open with names that a library would not pass on
//   raw1 exit CODE        proc_exit with any number

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

static void tell(const char *what, __wasi_errno_t result) {
    printf("%s %d\n", what, result);
}

static void *many(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) {
        printf("no memory for it\n");
        exit(3);
    }
    return memory;
}

static void poll_many(size_t count) {
    __wasi_subscription_t *in = many(count, sizeof *in);
    __wasi_event_t *out = many(count, sizeof *out);
    __wasi_size_t ready = 0;
    for (size_t i = 0; i < count; i++) {
        in[i].userdata = i;
        in[i].u.tag = __WASI_EVENTTYPE_CLOCK;
        in[i].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
        in[i].u.u.clock.timeout = i == 0 ? 1 : 3600000000000ull;
    }
    tell("poll", __wasi_poll_oneoff(in, out, count, &ready));
    printf("ready %zu\n", (size_t)ready);
}

static void random_many(size_t bytes) {
    tell("random", __wasi_random_get(many(bytes, 1), bytes));
}

static void vectors(size_t count) {
    __wasi_ciovec_t *list = many(count, sizeof *list);
    __wasi_size_t written = 0;
    tell("vectors", __wasi_fd_write(1, list, count, &written));
}

// A guest's bad pointer is a trap or an error, and nothing else happens.
static void pointers(void) {
    uint8_t *outside = (uint8_t *)0xfffffff0u;
    tell("random outside", __wasi_random_get(outside, 64));
    __wasi_ciovec_t list = {outside, 64};
    __wasi_size_t written = 0;
    tell("write outside", __wasi_fd_write(1, &list, 1, &written));
    tell("args outside", __wasi_args_get((uint8_t **)outside, outside));
}

static void preopens(void) {
    for (__wasi_fd_t fd = 3; fd < 1024; fd++) {
        __wasi_prestat_t stat;
        char name[1024] = {0};
        if (__wasi_fd_prestat_get(fd, &stat) != 0)
            break;
        size_t length = stat.u.dir.pr_name_len < sizeof name ? stat.u.dir.pr_name_len : sizeof name - 1;
        tell("preopen", __wasi_fd_prestat_dir_name(fd, (uint8_t *)name, length));
        printf("%d %s\n", (int)fd, name);
    }
}

static void renumber(void) {
    __wasi_fdstat_t stat;
    tell("renumber", __wasi_fd_renumber(2, 3));
    tell("old", __wasi_fd_fdstat_get(2, &stat));
    tell("new", __wasi_fd_fdstat_get(3, &stat));
    tell("to nowhere", __wasi_fd_renumber(3, 100000));
}

static void closed(void) {
    __wasi_fdstat_t stat;
    for (__wasi_fd_t fd = 3; fd < 64; fd++)
        (void)!__wasi_fd_close(fd);
    tell("closed", __wasi_fd_fdstat_get(3, &stat));
    tell("close again", __wasi_fd_close(3));
    tell("never open", __wasi_fd_fdstat_get(0xffffffffu, &stat));
}

static void paths(void) {
    static const char *names[] = {"..", "../etc/passwd", "/etc/passwd", "", ".", "a/../../etc/passwd", "nul"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        __wasi_fd_t fd = 0;
        __wasi_errno_t result = __wasi_path_open(
            3, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, names[i], 0, __WASI_RIGHTS_FD_READ, ~0ull, 0, &fd);
        printf("path \"%s\" %d\n", names[i], result);
    }
}

int main(int argc, char **argv) {
    const char *wanted = argc > 1 ? argv[1] : "";
    size_t number = argc > 2 ? (size_t)strtoull(argv[2], NULL, 10) : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(wanted, "poll"))
        poll_many(number);
    else if (!strcmp(wanted, "random"))
        random_many(number);
    else if (!strcmp(wanted, "vectors"))
        vectors(number);
    else if (!strcmp(wanted, "pointers"))
        pointers();
    else if (!strcmp(wanted, "preopens"))
        preopens();
    else if (!strcmp(wanted, "renumber"))
        renumber();
    else if (!strcmp(wanted, "closed"))
        closed();
    else if (!strcmp(wanted, "paths"))
        paths();
    else if (!strcmp(wanted, "exit"))
        __wasi_proc_exit((uint32_t)number);
    else
        return 2;
    return 0;
}
