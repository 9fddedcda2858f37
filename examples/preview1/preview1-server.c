// Serves one file over HTTP, as a module of WASI preview 1.
//
// Preview 1 cannot open sockets: it is given them. wasmpod makes every containerPort a listening
// descriptor and tells how many there are in LISTEN_FDS; they come after the mounted directories,
// so the first descriptor that is a socket is the first port. Not a web server: one request per
// connection, one connection at a time.

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE "/shared/page.txt"
// Preopened directories come before the listeners; a pod has far fewer mounts than this.
#define HIGHEST_DESCRIPTOR 1024

// The first descriptor that is a socket, or -1.
static int find_listener(void) {
    for (int fd = 3; fd < HIGHEST_DESCRIPTOR; fd++) {
        struct stat status;
        if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
            return fd;
    }
    return -1;
}

// Answers one request with the page, whatever was asked.
static void answer(int connection) {
    char request[4096], page[1024];
    if (recv(connection, request, sizeof request, 0) <= 0)
        return;
    int file = open(PAGE, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, page, sizeof page);
    if (file >= 0)
        close(file);
    char head[128];
    int head_length = snprintf(
        head, sizeof head,
        "HTTP/1.1 %s\r\nContent-Length: %zd\r\nConnection: close\r\n\r\n",
        length < 0 ? "404 Not Found" : "200 OK", length < 0 ? 0 : length);
    send(connection, head, (size_t)head_length, 0);
    if (length > 0)
        send(connection, page, (size_t)length, 0);
}

int main(void) {
    // A person wants to see each line when it is written.
    setvbuf(stdout, NULL, _IOLBF, 0);
    int listener = find_listener();
    if (listener < 0) {
        fprintf(stderr, "no listening socket: does the manifest have a containerPort?\n");
        return 1;
    }
    // The port opens at its first use: before we say that it is open.
    struct pollfd first_use = {.fd = listener, .events = POLLIN};
    poll(&first_use, 1, 0);
    printf("serving %s\n", PAGE);
    for (int served = 1;; served++) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            perror("accept");
            return 1;
        }
        answer(connection);
        close(connection);
        printf("served %d\n", served);
    }
}
