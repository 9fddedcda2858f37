// Serves one file over HTTP, as a module of WASI preview 1.
//
// Preview 1 cannot open sockets: it is given them. wasmpod makes every containerPort a listening
// descriptor, the first of them 3, and tells how many there are in LISTEN_FDS: sd_listen_fds(3).
// Not a web server: one request per connection, one connection at a time.

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE "/shared/page.txt"
// The listener of the first containerPort.
#define LISTENER 3

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
    if (!getenv("LISTEN_FDS")) {
        fprintf(stderr, "no listening socket: does the manifest have a containerPort?\n");
        return 1;
    }
    // The port opens at its first use: before we say that it is open.
    struct pollfd first_use = {.fd = LISTENER, .events = POLLIN};
    poll(&first_use, 1, 0);
    printf("serving %s\n", PAGE);
    for (int served = 1;; served++) {
        int connection = accept(LISTENER, NULL, NULL);
        if (connection < 0) {
            perror("accept");
            return 1;
        }
        answer(connection);
        close(connection);
        printf("served %d\n", served);
    }
}
