/* Preloaded, this counts what programs write below a folder, and lets the n-th such call fail.

The state is a file that all processes share: the variable FAULTS names it, FAULTS_ROOT the folder.
Calls within libc are not seen, but for its streams, which fail when they hand over their buffer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define CREATES 01101 /* O_WRONLY, O_CREAT, O_TRUNC */
#define MOST 40000

static struct {
    int n, at, error, lasting; /* at 0: none fails; error 0: the process is killed */
    struct { char call[16], path[240]; } calls[MOST];
} *state;
static char root[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULTS_ROOT"), *path = getenv("FAULTS");
    FILE *file = folder && path ? fopen(path, "r+") : NULL;
    if (!file) return;
    void *shared = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    fclose(file);
    snprintf(root, sizeof root, "%s/", folder);
    if (shared != MAP_FAILED) state = shared;
}

static int fails(const char *call, const char *path) {
    if (!state || strncmp(path, root, strlen(root))) return 0;
    int n = __atomic_add_fetch(&state->n, 1, __ATOMIC_SEQ_CST);
    if (n <= MOST) {
        snprintf(state->calls[n - 1].call, sizeof state->calls->call, "%s", call);
        snprintf(state->calls[n - 1].path, sizeof state->calls->path, "%s", path + strlen(root));
    }
    if (!state->at || n < state->at || (n > state->at && !state->lasting)) return 0;
    if (!state->error) syscall(SYS_kill, getpid(), SIGKILL);
    errno = state->error;
    return 1;
}

static int fails_fd(const char *call, int fd) {
    char link[32], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = state ? readlink(link, path, sizeof path - 1) : -1;
    errno = before;
    if (n < 0) return 0;
    path[n] = 0;
    return fails(call, path);
}

static int fails_at(const char *call, int folder, const char *name) {
    char link[32], path[2 * PATH_MAX];
    if (!state || *name == '/') return fails(call, name);
    snprintf(link, sizeof link, folder < 0 ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, path, PATH_MAX);
    if (n < 0) return 0;
    snprintf(path + n, PATH_MAX, "/%s", name);
    return fails(call, path);
}

static int fails_stream(const char *call, FILE *file) {
    if (!file || !__fpending(file) || !fails_fd(call, fileno(file))) return 0;
    __fpurge(file);
    return 1;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = dlsym(RTLD_NEXT, #name)
#define WRAP(type, name, failed, failure, parameters, arguments) \
    type name parameters { \
        REAL(name); \
        return failed ? failure : real arguments; \
    }

#define ON_FD(type, name, parameters, arguments) \
    WRAP(type, name, fails_fd(#name, fd), -1, parameters, arguments)
ON_FD(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
ON_FD(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
ON_FD(ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n))
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *from, int n, off_t at), (fd, from, n, at))
ON_FD(ssize_t, pwritev64, (int fd, const struct iovec *from, int n, off64_t at), (fd, from, n, at))
ON_FD(int, ftruncate, (int fd, off_t n), (fd, n))
ON_FD(int, ftruncate64, (int fd, off64_t n), (fd, n))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ssize_t sendfile(int, int, off_t *, size_t), sendfile64(int, int, off64_t *, size_t);
ON_FD(ssize_t, sendfile, (int fd, int from, off_t *at, size_t n), (fd, from, at, n))
ON_FD(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t n), (fd, from, at, n))
WRAP(ssize_t, copy_file_range, fails_fd("copy_file_range", fd), -1,
     (int from, off64_t *start, int fd, off64_t *at, size_t n, unsigned flags),
     (from, start, fd, at, n, flags))

#define ON_NAME(name, folder, path, parameters, arguments) \
    WRAP(int, name, fails_at(#name, folder, path), -1, parameters, arguments)
int mkdir(const char *, mode_t), mkdirat(int, const char *, mode_t);
ON_NAME(rename, -1, to, (const char *from, const char *to), (from, to))
ON_NAME(renameat, b, to, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_NAME(renameat2, b, to, (int a, const char *from, int b, const char *to, unsigned flags),
        (a, from, b, to, flags))
ON_NAME(link, -1, to, (const char *from, const char *to), (from, to))
ON_NAME(linkat, b, to, (int a, const char *from, int b, const char *to, int flags),
        (a, from, b, to, flags))
ON_NAME(symlink, -1, to, (const char *from, const char *to), (from, to))
ON_NAME(mkdir, -1, path, (const char *path, mode_t mode), (path, mode))
ON_NAME(mkdirat, folder, path, (int folder, const char *path, mode_t mode), (folder, path, mode))

#define OPEN(name, folder, parameters, ...) \
    int name parameters { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        return flags & CREATES && fails_at(#name, folder, path) ? -1 : real(__VA_ARGS__, mode); \
    }
int open(const char *, int, ...), open64(const char *, int, ...);
int openat(int, const char *, int, ...), openat64(int, const char *, int, ...);
OPEN(open, -1, (const char *path, int flags, ...), path, flags)
OPEN(open64, -1, (const char *path, int flags, ...), path, flags)
OPEN(openat, folder, (int folder, const char *path, int flags, ...), folder, path, flags)
OPEN(openat64, folder, (int folder, const char *path, int flags, ...), folder, path, flags)

#define FOPEN(name) \
    WRAP(FILE *, name, (*mode != 'r' && fails_at(#name, -1, path)), NULL, \
         (const char *path, const char *mode), (path, mode))
FOPEN(fopen)
FOPEN(fopen64)
WRAP(int, fflush, fails_stream("fflush", file), EOF, (FILE *file), (file))
WRAP(size_t, fwrite, (size * n > BUFSIZ && fails_fd("fwrite", fileno(file))), 0,
     (const void *from, size_t size, size_t n, FILE *file), (from, size, n, file))
int fclose(FILE *file) {
    REAL(fclose);
    int failed = fails_stream("fclose", file), error = errno, result = real(file);
    if (failed) errno = error;
    return failed ? EOF : result;
}
