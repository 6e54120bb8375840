/* Loaded before the C library into a process whose power is going to fail (see disk.rs): writes down, in the order in
 * which they happen, all that the process does to the files below POWER_ROOT, into the file POWER_RECORD.
 *
 * A record: kind (1 byte), inode (8), offset or length (8), length of what follows (4), then a path or the bytes written.
 * Numbers are those of this machine. RENAME and LINK are two records: FROM, then the other.
 *
 * One thing at a time, under a lock, so that the order of the records is that of what happened. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char watched[DESCRIPTORS];
static char root[PATH_MAX];
static size_t root_length;
static int record = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *directory = getenv("POWER_ROOT"), *file = getenv("POWER_RECORD");
    if (!directory || !file)
        return;
    snprintf(root, sizeof root, "%s", directory);
    root_length = strlen(root);
    record = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, uint64_t inode, uint64_t number, const void *bytes, size_t length)
{
    unsigned char head[21];
    uint32_t length32 = (uint32_t)length;
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &length32, 4);
    struct iovec parts[2] = { { head, sizeof head }, { (void *)bytes, length } };
    if (syscall(SYS_writev, record, parts, 2) != (long)(sizeof head + length))
        abort();
}

static int below(const char *path)
{
    return record >= 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int is_watched(int fd)
{
    return record >= 0 && fd >= 0 && fd < DESCRIPTORS && watched[fd];
}

static uint64_t inode_of(int fd)
{
    struct stat about;
    return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

static int open_noted(int at, const char *path, int flags, mode_t mode)
{
    if (!below(path)) {
        int fd = syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS)
            watched[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int was = access(path, F_OK) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= DESCRIPTORS)
        abort();
    if (fd >= 0) {
        watched[fd] = 1;
        if (!was)
            note('C', inode_of(fd), 0, path, strlen(path));
        else if (flags & O_TRUNC)
            note('T', inode_of(fd), 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN(name)                                     \
    int name(const char *path, int flags, ...)         \
    {                                                  \
        va_list rest;                                  \
        va_start(rest, flags);                         \
        mode_t mode = va_arg(rest, mode_t);            \
        va_end(rest);                                  \
        return open_noted(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                   \
    int name(int at, const char *path, int flags, ...) \
    {                                                  \
        va_list rest;                                  \
        va_start(rest, flags);                         \
        mode_t mode = va_arg(rest, mode_t);            \
        va_end(rest);                                  \
        return open_noted(at, path, flags, mode);      \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        watched[fd] = 0;
    return syscall(SYS_close, fd);
}

/* Where a write without an offset of its own goes. */
static off_t place(int fd)
{
    struct stat about;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_APPEND && fstat(fd, &about) == 0)
        return about.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static ssize_t written(int fd, const void *bytes, ssize_t length, off_t offset)
{
    if (length > 0)
        note('W', inode_of(fd), offset, bytes, length);
    return length;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (!is_watched(fd))
        return syscall(SYS_write, fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t offset = place(fd);
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    int error = errno;
    written(fd, bytes, done, offset);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static ssize_t pwrite_noted(int fd, const void *bytes, size_t length, off_t offset)
{
    if (!is_watched(fd))
        return syscall(SYS_pwrite64, fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, offset);
    int error = errno;
    written(fd, bytes, done, offset);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return pwrite_noted(fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
    return pwrite_noted(fd, bytes, length, offset);
}

/* What nobody here uses on a watched file; should that change, the record would lie. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (is_watched(fd))
        abort();
    return syscall(SYS_writev, fd, parts, count);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (is_watched(fd))
        abort();
    return syscall(SYS_fallocate, fd, mode, offset, length);
}

static int truncate_noted(int fd, off_t length)
{
    if (!is_watched(fd))
        return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int outcome = syscall(SYS_ftruncate, fd, length), error = errno;
    if (outcome == 0)
        note('T', inode_of(fd), length, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

int ftruncate(int fd, off_t length) { return truncate_noted(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_noted(fd, length); }

static int sync_noted(long call, int fd)
{
    if (!is_watched(fd))
        return syscall(call, fd);
    struct stat about;
    pthread_mutex_lock(&lock);
    int outcome = syscall(call, fd), error = errno;
    if (outcome == 0 && fstat(fd, &about) == 0) {
        if (S_ISDIR(about.st_mode)) {
            char link[64], path[PATH_MAX];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path);
            if (length < 0)
                abort();
            note('Y', 0, 0, path, length);
        } else {
            note('S', about.st_ino, 0, "", 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

int fsync(int fd) { return sync_noted(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_noted(SYS_fdatasync, fd); }

int mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&lock);
    int outcome = syscall(SYS_mkdirat, AT_FDCWD, path, mode), error = errno;
    if (outcome == 0 && below(path))
        note('D', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

static int unlink_noted(int at, const char *path, int flags)
{
    pthread_mutex_lock(&lock);
    int outcome = syscall(SYS_unlinkat, at, path, flags), error = errno;
    if (outcome == 0 && below(path))
        note('U', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

int unlink(const char *path) { return unlink_noted(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlink_noted(at, path, flags); }
int rmdir(const char *path) { return unlink_noted(AT_FDCWD, path, AT_REMOVEDIR); }

static int rename_noted(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    pthread_mutex_lock(&lock);
    int outcome = syscall(SYS_renameat2, from_at, from, to_at, to, flags), error = errno;
    if (outcome == 0 && below(from)) {
        note('F', 0, 0, from, strlen(from));
        note('R', 0, 0, to, strlen(to));
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

int rename(const char *from, const char *to) { return rename_noted(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return rename_noted(from_at, from, to_at, to, 0);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    return rename_noted(from_at, from, to_at, to, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    pthread_mutex_lock(&lock);
    int outcome = syscall(SYS_linkat, from_at, from, to_at, to, flags), error = errno;
    if (outcome == 0 && below(from)) {
        note('F', 0, 0, from, strlen(from));
        note('L', 0, 0, to, strlen(to));
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return outcome;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
