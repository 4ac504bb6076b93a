/* Ends the process that it is loaded into by SIGKILL, exactly at one journal record.
 *
 * CRASH_AT=N names the record, counted from 1. CRASH_WHEN=before ends before it is written (so right after the side
 * effect of the record before it), torn in the middle of writing it, after as soon as it is on the disk (so before
 * the side effect that it announces). From that record on, CRASH_WHEN=full lets nothing more be written, and
 * CRASH_WHEN=back sets the clock back by an hour. The program under test is the shipped one, and knows nothing of this. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int records;

static int is_journal(int fd) {
    char link[64], path[4096];
    ssize_t length;
    char *digits = link + 14;
    memcpy(link, "/proc/self/fd/", 14);
    if (fd < 0 || fd > 99999) return 0;
    int divisor = 1;
    while (fd / divisor >= 10) divisor *= 10;
    for (; divisor; divisor /= 10) *digits++ = (char)('0' + fd / divisor % 10);
    *digits = 0;
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/journal.jsonl") != NULL;
}

static int is_now(const char *when) {
    const char *at = getenv("CRASH_AT"), *how = getenv("CRASH_WHEN");
    int lasting = !strcmp(when, "full") || !strcmp(when, "back");
    int from_here_on = lasting && at && records > atoi(at);
    return at && how && (records == atoi(at) || from_here_on) && !strcmp(how, when);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (is_journal(fd)) {
        records++;
        if (is_now("before")) kill(getpid(), SIGKILL);
        if (is_now("full")) {
            errno = ENOSPC;
            return -1;
        }
        if (is_now("torn")) {
            (void)!real(fd, bytes, length / 2);
            kill(getpid(), SIGKILL);
        }
    }
    return real(fd, bytes, length);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (is_journal(fd) && is_now("after")) kill(getpid(), SIGKILL);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME && is_now("back")) time->tv_sec -= 3600;
    return result;
}
