/* Faults of the machine for one process, preloaded with LD_PRELOAD: a disk that fails, a signal at an instant, a clock
 * that jumps. It does nothing until it is armed, by chaos_arm() or by the environment's CHAOS, with a rule of words:
 *
 *   folder=PATH   operations on files in this folder count
 *   ops=LETTERS   of these kinds: r open to read, c open to write, w write, s fsync, n rename and link, u others
 *   after=N       the fault comes with operation N (from 1)
 *   times=N       so many operations fail, 0 = all from then on
 *   error=ERRNO   they fail with this error; a write that fails with ENOSPC stores half of its bytes first
 *   signal=NUMBER instead, this process gets a signal before operation N
 *   cpu=MS        instead, the signal comes after so many milliseconds of processor time
 *   worker=K      the K-th forked child gets the fault instead of the process itself
 *   clock=SECONDS with operation N the calendar clock jumps
 *   from=, to=    with operation N the first file is renamed to the second
 *   fired=PATH    this file is made when the fault comes
 *   late=MS       besides, this process gets the signal lateby=NUMBER after so many milliseconds of processor time
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static struct {
    char folder[PATH_MAX], ops[16], fired[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    long after, times, error, signal, cpu, worker, clock, late, lateby;
} rule;
static atomic_int armed, jumped;
static atomic_long counted;
static int forks;

static void fire(void) {
    if (rule.fired[0]) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, rule.fired, O_CREAT | O_WRONLY, 0644);
        if (file >= 0) syscall(SYS_close, file);
    }
}

static void after_processor_time(long milliseconds, long number) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = (int)number};
    struct itimerspec when = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000000}};
    timer_t timer;
    if (timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0) timer_settime(timer, 0, &when, NULL);
}

static void begin(void) {
    if (rule.cpu > 0) after_processor_time(rule.cpu, rule.signal);
    else atomic_store(&armed, 1);
}

int chaos_arm(const char *text) {
    char copy[5 * PATH_MAX], *rest = NULL;
    strncpy(copy, text, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    for (char *word = strtok_r(copy, "|", &rest); word; word = strtok_r(NULL, "|", &rest)) {
        char *value = strchr(word, '=');
        if (!value) return -1;
        *value++ = 0;
        if (!strcmp(word, "folder")) snprintf(rule.folder, sizeof rule.folder, "%s", value);
        else if (!strcmp(word, "ops")) snprintf(rule.ops, sizeof rule.ops, "%s", value);
        else if (!strcmp(word, "fired")) snprintf(rule.fired, sizeof rule.fired, "%s", value);
        else if (!strcmp(word, "from")) snprintf(rule.from, sizeof rule.from, "%s", value);
        else if (!strcmp(word, "to")) snprintf(rule.to, sizeof rule.to, "%s", value);
        else if (!strcmp(word, "after")) rule.after = atol(value);
        else if (!strcmp(word, "times")) rule.times = atol(value);
        else if (!strcmp(word, "error")) rule.error = atol(value);
        else if (!strcmp(word, "signal")) rule.signal = atol(value);
        else if (!strcmp(word, "cpu")) rule.cpu = atol(value);
        else if (!strcmp(word, "worker")) rule.worker = atol(value);
        else if (!strcmp(word, "late")) rule.late = atol(value);
        else if (!strcmp(word, "lateby")) rule.lateby = atol(value);
        else if (!strcmp(word, "clock")) rule.clock = atol(value);
        else return -1;
    }
    forks = 0;
    if (rule.late > 0) after_processor_time(rule.late, rule.lateby);
    if (!rule.worker) begin();
    return 0;
}

long chaos_counted(void) { return atomic_load(&counted); }

static void forked(void) { forks++; }

static void in_child(void) {
    if (rule.worker && forks + 1 == rule.worker) {
        rule.worker = 0;
        begin();
    } else if (rule.worker) {
        rule.worker = 0; /* of another child: no fault */
    }
}

__attribute__((constructor)) static void loaded(void) {
    pthread_atfork(NULL, forked, in_child);
    const char *text = getenv("CHAOS");
    if (text) {
        chaos_arm(text);
        unsetenv("CHAOS"); /* programs that this one starts are spared */
    }
}

static int inside(int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    size_t length = strlen(rule.folder);
    if (path == NULL || path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t size = readlink(link, whole, PATH_MAX - 1);
            if (size < 0) return 0;
            whole[size] = 0;
        }
        if (path != NULL) {
            strncat(whole, "/", sizeof whole - strlen(whole) - 1);
            strncat(whole, path, sizeof whole - strlen(whole) - 1);
        }
        path = whole;
    }
    return length && !strncmp(path, rule.folder, length) && (path[length] == '/' || path[length] == 0);
}

/* Whether this operation fails: the number of its error, else 0. ``half``: a write that still stores a part. */
static int fails(char kind, int folder, const char *path, int *half) {
    if (!atomic_load(&armed) || !strchr(rule.ops, kind) || !inside(folder, path)) return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (number < rule.after) return 0;
    if (number == rule.after) {
        fire();
        if (rule.signal) {
            atomic_store(&armed, 0);
            kill(getpid(), (int)rule.signal);
            return 0;
        }
        if (rule.clock) atomic_store(&jumped, 1);
        if (rule.from[0]) syscall(SYS_renameat2, AT_FDCWD, rule.from, AT_FDCWD, rule.to, 0);
        if (half) *half = rule.error == ENOSPC;
    }
    if (rule.times && number >= rule.after + rule.times) {
        atomic_store(&armed, 0);
        return 0;
    }
    return (int)rule.error;
}

#define FAIL_IF(kind, folder, path)                        \
    do {                                                   \
        int error_ = fails(kind, folder, path, NULL);      \
        if (error_) {                                      \
            errno = error_;                                \
            return -1;                                     \
        }                                                  \
    } while (0)

static int opened(int folder, const char *path, int flags, mode_t mode) {
    FAIL_IF(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? 'c' : 'r', folder, path);
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE                                  \
    mode_t mode = 0;                          \
    if (flags & (O_CREAT | O_TMPFILE)) {      \
        va_list list;                         \
        va_start(list, flags);                \
        mode = (mode_t)va_arg(list, int);     \
        va_end(list);                         \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }

ssize_t write(int file, const void *bytes, size_t size) {
    int half = 0, error = fails('w', file, NULL, &half);
    if (error && !(half && size > 1)) {
        errno = error;
        return -1;
    }
    return syscall(SYS_write, file, bytes, error ? size / 2 : size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    FAIL_IF('w', file, NULL);
    return syscall(SYS_writev, file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    FAIL_IF('w', file, NULL);
    return syscall(SYS_pwrite64, file, bytes, size, at);
}

int fsync(int file) {
    FAIL_IF('s', file, NULL);
    return (int)syscall(SYS_fsync, file);
}

int ftruncate64(int file, off64_t size) {
    FAIL_IF('u', file, NULL);
    return (int)syscall(SYS_ftruncate, file, size);
}

int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

int truncate64(const char *path, off64_t size) {
    FAIL_IF('u', AT_FDCWD, path);
    return (int)syscall(SYS_truncate, path, size);
}

int truncate(const char *path, off_t size) { return truncate64(path, size); }

int rename(const char *from, const char *to) {
    FAIL_IF('n', AT_FDCWD, to);
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int a, const char *from, int b, const char *to) {
    FAIL_IF('n', b, to);
    return (int)syscall(SYS_renameat2, a, from, b, to, 0);
}

int link(const char *from, const char *to) {
    FAIL_IF('n', AT_FDCWD, to);
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    FAIL_IF('n', b, to);
    return (int)syscall(SYS_linkat, a, from, b, to, flags);
}

int unlink(const char *path) {
    FAIL_IF('u', AT_FDCWD, path);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags) {
    FAIL_IF('u', folder, path);
    return (int)syscall(SYS_unlinkat, folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF('u', AT_FDCWD, path);
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int chmod(const char *path, mode_t mode) {
    FAIL_IF('u', AT_FDCWD, path);
    return (int)syscall(SYS_fchmodat, AT_FDCWD, path, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && atomic_load(&jumped)) now->tv_sec += rule.clock;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
