/* Descriptors, sending and receiving, TLS as a client. A connection that fails is given to its owner at once. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct conn conns[FD_MAX];
static char scratch[PERIOD];
static SSL_CTX *tls, *tls_server;
int epoll_fd;

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

_Noreturn void die(int code, const char *what) {
  fprintf(stderr, "http-load: %s: %s\n", what, errno ? strerror(errno) : "");
  exit(code);
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

static void watch(struct conn *c, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u64 = (uint64_t)c->generation << 32 | (uint32_t)c->fd};
  if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) die(2, "epoll_ctl");
}

struct conn *adopt(int fd, enum role role) {
  if (fd >= FD_MAX) die(2, "too many descriptors");
  struct conn *c = &conns[fd];
  uint32_t generation = c->generation + 1;
  memset(c, 0, sizeof *c);
  c->fd = fd;
  c->generation = generation;
  c->role = (uint8_t)role;
  c->next_id = 1;
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  int one = 1;
  if (role != ROLE_LISTENER) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return c;
}

static void want_out(struct conn *c, int wanted) {
  if (c->wants_out == wanted) return;
  c->wants_out = (uint8_t)wanted;
  watch(c, EPOLL_CTL_MOD, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void release(struct conn *c) {
  if (c->ssl) {
    if (!c->is_handshaking) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
  }
  ERR_clear_error();
  free(c->in);
  free(c->out);
  free(c->streams);
  c->ssl = NULL;
  c->in = c->out = NULL;
  c->streams = NULL;
  c->role = ROLE_FREE;
  c->generation++;
  close(c->fd);
}

void backend_listen(int port, enum version version) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (void *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die(2, "backend listen");
  adopt(fd, ROLE_LISTENER)->version = (uint8_t)version;
}

static void backend_accept(struct conn *listener) {
  for (int i = 0; i < EVENTS; i++) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct conn *c = adopt(fd, ROLE_BACKEND);
    c->version = listener->version;
    if (!tls_server) continue;
    c->ssl = SSL_new(tls_server);
    if (!c->ssl || !SSL_set_fd(c->ssl, fd)) die(2, "TLS");
    SSL_set_accept_state(c->ssl);
    c->is_handshaking = 1;
  }
}

/* ---- sending ----------------------------------------------------------------------------------------- */

void queue(struct conn *c, const void *data, size_t length) {
  if (c->out_have + length > c->out_size) {
    c->out_size = (c->out_have + length) * 2;
    c->out = realloc(c->out, c->out_size);
    if (!c->out) die(2, "memory");
  }
  memcpy(c->out + c->out_have, data, length);
  c->out_have += length;
}

void queue_pattern(struct conn *c, size_t length) { queue(c, pattern, length); }

/* Bytes taken; 0 when the socket is full; -1 when the peer is gone. */
static ssize_t send_bytes(struct conn *c, const char *data, size_t length) {
  if (!c->ssl) {
    ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS ? 0 : -1;
  }
  int sent = SSL_write(c->ssl, data, (int)(length > PERIOD ? PERIOD : length));
  if (sent > 0) return sent;
  int error = SSL_get_error(c->ssl, sent);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Sends what the socket takes: first what is queued, then the body. Answers 0 when the peer is gone. */
int send_more(struct conn *c) {
  uint64_t budget = TURN_BYTES;
  while (c->out_at < c->out_have) {
    ssize_t sent = send_bytes(c, c->out + c->out_at, c->out_have - c->out_at);
    if (sent < 0) return 0;
    if (sent == 0) break;
    c->out_at += (size_t)sent;
  }
  if (c->out_at == c->out_have) c->out_at = c->out_have = 0;
  while (c->out_have == 0 && c->body_out > 0 && budget > 0) {
    uint64_t at = c->position_out % PERIOD;
    uint64_t length = PERIOD - at < c->body_out ? PERIOD - at : c->body_out;
    ssize_t sent = send_bytes(c, pattern + at, length);
    if (sent < 0) return 0;
    if (sent == 0) break;
    c->position_out += (uint64_t)sent;
    c->body_out -= (uint64_t)sent;
    budget -= (uint64_t)sent < budget ? (uint64_t)sent : budget;
  }
  want_out(c, c->out_have > 0 || c->body_out > 0);
  return 1;
}

/* ---- receiving --------------------------------------------------------------------------------------- */

static size_t feed(struct conn *c, const char *data, size_t length) {
  if (c->is_asking) {
    if (length < 4 || memcmp(data + length - 4, "\r\n\r\n", 4) != 0) return 0;
    if (length < 12 || memcmp(data + 8, " 200", 4) != 0) return wrong("no tunnel", data, length);
    c->is_asking = 0;
    client_tunnelled(c);
    return length;
  }
  return c->version == HTTP2 ? http2_feed(c, data, length) : http1_feed(c, data, length);
}

/* Feeds what arrived behind what was kept; keeps what is not yet whole. Answers 0 when the connection is to go. */
static int take(struct conn *c, const char *data, size_t length) {
  if (c->in_have > 0) {
    if (c->in_have + length > HEAD_BYTES_MAX + PERIOD) return wrong("an endless head", c->in, c->in_have) == 0;
    memcpy(c->in + c->in_have, data, length);
    length += c->in_have;
    data = c->in;
  }
  uint32_t generation = c->generation;
  size_t taken = feed(c, data, length);
  if (taken == SIZE_MAX) return 0;
  if (c->generation != generation) return 1; /* its work was done, and it was closed */
  c->in_have = length - taken;
  if (c->in_have == 0) return 1;
  if (c->in_have > HEAD_BYTES_MAX) return wrong("an endless head", data + taken, c->in_have) == 0;
  if (!c->in) c->in = malloc(HEAD_BYTES_MAX + PERIOD);
  if (!c->in) die(2, "memory");
  memmove(c->in, data + taken, c->in_have);
  return 1;
}

/* In the middle of a plain body nobody compares: the kernel discards it, which spares this core a copy. */
static ssize_t discard_body(struct conn *c) {
  ssize_t got = recv(c->fd, scratch, c->body_in - 1 < TURN_BYTES ? c->body_in - 1 : TURN_BYTES, MSG_TRUNC);
  if (got > 0) {
    c->body_in -= (uint64_t)got;
    c->position_in += (uint64_t)got;
  }
  return got;
}

static int read_plain(struct conn *c) {
  int discards = !verify && c->version == HTTP1 && c->body_in > SMALL_BODY_BYTES_MAX;
  ssize_t got = discards ? discard_body(c) : recv(c->fd, scratch, sizeof scratch, 0);
  if (got <= 0) return got < 0 && errno == EAGAIN;
  return discards || take(c, scratch, (size_t)got);
}

static int read_tls(struct conn *c) {
  uint32_t generation = c->generation;
  uint64_t budget = TURN_BYTES;
  while (budget > 0) {
    int got = SSL_read(c->ssl, scratch, sizeof scratch);
    if (got <= 0) return SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ;
    if (!take(c, scratch, (size_t)got)) return 0;
    if (c->generation != generation) return 1;
    /* What lies in the socket still comes with the next event; another read now might only cost a system call. */
    if (!SSL_has_pending(c->ssl)) return 1;
    budget -= (uint64_t)got < budget ? (uint64_t)got : budget;
  }
  return 1;
}

int read_some(struct conn *c) { return c->ssl ? read_tls(c) : read_plain(c); }

/* ---- TLS --------------------------------------------------------------------------------------------- */

static int on_session(SSL *ssl, SSL_SESSION *session) {
  keep_session(SSL_get_app_data(ssl), session);
  return 1;
}

/* `alpn` is one protocol. The certificate is not verified: that is the client's work, and not measured here. */
void tls_set_up(const char *alpn, int is_resuming) {
  unsigned char list[32];
  size_t length = strlen(alpn);
  tls = SSL_CTX_new(TLS_client_method());
  list[0] = (unsigned char)length;
  memcpy(list + 1, alpn, length);
  if (!tls || !SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION)) die(2, "TLS");
  SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
  if (SSL_CTX_set_alpn_protos(tls, list, (unsigned)length + 1) != 0) die(2, "ALPN");
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(tls, 1);
  SSL_CTX_set_default_read_buffer_len(tls, 65536);
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  if (is_resuming) SSL_CTX_sess_set_new_cb(tls, on_session);
}

/* The backend speaks TLS with the certificate and key of one PEM file. */
void tls_serve(const char *pem_path) {
  tls_server = SSL_CTX_new(TLS_server_method());
  if (!tls_server || SSL_CTX_use_certificate_chain_file(tls_server, pem_path) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls_server, pem_path, SSL_FILETYPE_PEM) != 1)
    die(1, pem_path);
  SSL_CTX_set_read_ahead(tls_server, 1);
  SSL_CTX_set_mode(tls_server, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void tls_begin(struct conn *c, const char *name, SSL_SESSION *session) {
  if (!tls) return;
  c->ssl = SSL_new(tls);
  if (!c->ssl || !SSL_set_fd(c->ssl, c->fd)) die(2, "TLS");
  SSL_set_app_data(c->ssl, c);
  SSL_set_tlsext_host_name(c->ssl, name);
  if (session) SSL_set_session(c->ssl, session);
  SSL_set_connect_state(c->ssl);
  c->is_handshaking = 1;
  want_out(c, 1);
}

/* Answers 0 when it failed. */
static int tls_handshake(struct conn *c) {
  int done = SSL_do_handshake(c->ssl);
  if (done == 1 && c->role == ROLE_BACKEND) {
    c->is_handshaking = 0;
    want_out(c, 0);
    return !SSL_has_pending(c->ssl) || read_some(c);
  }
  if (done == 1) {
    const unsigned char *protocol;
    unsigned length;
    SSL_get0_alpn_selected(c->ssl, &protocol, &length);
    if (c->version == HTTP2 && length != 2) return wrong("no h2 by ALPN", "", 0) == 0;
    c->is_handshaking = 0;
    count_resumption(SSL_session_reused(c->ssl));
    want_out(c, 0);
    client_connected(c);
    return 1;
  }
  int error = SSL_get_error(c->ssl, done);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return 0;
  want_out(c, error == SSL_ERROR_WANT_WRITE);
  return 1;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static int serve(struct conn *c, uint32_t events) {
  uint32_t generation = c->generation;
  if (c->is_handshaking) {
    if (!tls_handshake(c)) return 0;
    return c->is_handshaking || send_more(c);
  }
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !read_some(c)) return 0;
  if (c->generation != generation) return 1;
  return c->is_handshaking ? tls_handshake(c) : send_more(c); /* a tunnel may just have opened */
}

void turn(int timeout_ms) {
  struct epoll_event events[EVENTS];
  int count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
  if (count < 0 && errno != EINTR) die(2, "epoll_wait");
  for (int i = 0; i < count; i++) {
    struct conn *c = &conns[(int)(uint32_t)events[i].data.u64];
    uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
    if (c->generation != generation) continue;
    if (c->role == ROLE_LISTENER) backend_accept(c);
    else if (!serve(c, events[i].events) && c->generation == generation) {
      if (c->role == ROLE_CLIENT) client_failed(c);
      else release(c);
    }
  }
}
