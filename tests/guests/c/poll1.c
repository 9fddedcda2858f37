// A preview 1 server in C that waits for its listeners and all its connections with one poll().
//
// Gives back what it gets on any number of connections at once: what poll_oneoff is for.
//
//   poll1 [MESSAGES]     ends after that many messages, or serves for ever

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define HIGHEST_DESCRIPTOR 1024
#define MOST 512

static struct pollfd watched[MOST];
static nfds_t watching;
static nfds_t listeners;

static int is_socket(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

static void watch(int fd) {
    watched[watching].fd = fd;
    watched[watching].events = POLLIN;
    watching++;
}

// Takes one connection; a listener that woke us for nothing is no error.
static void take(int listener) {
    int connection = accept(listener, NULL, NULL);
    if (connection < 0) {
        if (errno != EAGAIN)
            perror("accept");
        return;
    }
    if (watching == MOST) {
        close(connection);
        return;
    }
    watch(connection);
    printf("accepted %zu\n", (size_t)(watching - listeners));
}

// Gives back one message; returns 0 when the connection is at its end.
static int echo(int connection) {
    char message[4096];
    ssize_t length = recv(connection, message, sizeof message, 0);
    if (length <= 0 || send(connection, message, (size_t)length, 0) != length)
        return 0;
    return 1;
}

int main(int argc, char **argv) {
    long left = argc > 1 ? atol(argv[1]) : -1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int fd = 3; fd < HIGHEST_DESCRIPTOR; fd++)
        if (is_socket(fd))
            watch(fd);
    listeners = watching;
    // Given listeners open at their first use; whoever reads that it serves may come at once.
    poll(watched, watching, 0);
    const char *told = getenv("LISTEN_FDS");
    printf("serving %zu, LISTEN_FDS %s\n", (size_t)listeners, told ? told : "unset");
    if (listeners == 0)
        return 1;
    while (left != 0) {
        if (poll(watched, watching, -1) < 0) {
            perror("poll");
            return 1;
        }
        nfds_t known = watching;
        for (nfds_t i = 0; i < listeners; i++)
            if (watched[i].revents)
                take(watched[i].fd);
        for (nfds_t i = known; i-- > listeners;) {
            if (!watched[i].revents)
                continue;
            if (echo(watched[i].fd)) {
                left -= left > 0;
            } else {
                close(watched[i].fd);
                watched[i] = watched[--watching];
            }
        }
    }
    printf("done\n");
    return 0;
}
