/*
 * The HTTP load generator and its backend: what its parts share. One epoll loop, one core, plain system calls.
 *
 *   loop.c   descriptors, sending and receiving, TLS as a client
 *   http1.c  HTTP/1.1, both roles: canned heads, bodies counted and compared
 *   http2.c  HTTP/2, both roles: canned header blocks, frames counted and compared
 *   main.c   jobs, the run, arguments
 *
 * It decodes no header block and no more of a head than its status and framing; what a proxy answers is checked
 * by status, length and every body byte. Bodies are the pattern: the same pseudo-random bytes in every process.
 */
#pragma once
#define _GNU_SOURCE
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PERIOD = 256 * 1024,      /* the pattern repeats with this period; also the largest single send and read */
  FD_MAX = 65536,
  LIST_MAX = 64,            /* ports, and names */
  RECORDS_MAX = 8192,       /* canned heads of one file */
  RECORD_BYTES_MAX = 8192,
  EVENTS = 128,
  FAILURES_MAX = 1000,
  SAMPLES_MAX = 4 * 1000 * 1000,
  TURN_BYTES = 1024 * 1024, /* what one connection may move before the others get their turn */
  OPENING_MAX = 128,        /* connections of the first wave in flight at once */
  HEAD_BYTES_MAX = 65536,   /* of an unfinished head or frame that is kept */
  STREAM_SLOTS = 256,       /* streams of one connection, and the ids they may lie apart */
  H2_BODY_BYTES_MAX = 16384,
  SMALL_BODY_BYTES_MAX = 16384, /* bodies up to this size are sent in one piece with their head */
};

enum job { JOB_REQUEST, JOB_CONNECTION, JOB_RESUMED, JOB_LATENCY, JOB_FRESH, JOB_BACKEND };
enum role { ROLE_FREE, ROLE_LISTENER, ROLE_CLIENT, ROLE_BACKEND };
enum version { HTTP1, HTTP2 };

struct stream {
  uint32_t id;      /* 0: free */
  uint8_t has_head;
  uint64_t position; /* body bytes received */
  uint64_t slot;     /* latency: which tick of the schedule is in flight */
};

struct conn {
  int fd;
  uint32_t generation; /* tells an event of a closed descriptor from one of its successor */
  uint8_t role, version;
  uint8_t wants_out;
  uint8_t is_handshaking;
  uint8_t is_asking;   /* client: waits for a forward proxy's answer to CONNECT */
  uint8_t is_opened;   /* client: its first request is done */
  uint8_t has_preface; /* HTTP/2: the peer's, or the first SETTINGS */
  SSL *ssl;
  char *in;            /* an unfinished head or frame */
  size_t in_have;
  char *out;           /* waits for the socket */
  size_t out_at, out_have, out_size;
  uint64_t body_in, body_out; /* HTTP/1: pattern bytes still to receive and to send */
  uint64_t position_in, position_out;
  uint32_t index;      /* client: its place in the wave, chooses name, target and source */
  uint32_t host;       /* fresh: which host it asks for */
  uint64_t opened_at;  /* fresh: when it was opened */
  uint32_t heads_sent; /* heads this side has sent on the connection */
  uint32_t in_flight;
  uint32_t next_id;
  uint32_t open_head_id; /* HTTP/2 backend: a header block waits for its CONTINUATION */
  uint8_t open_head_ends;
  uint64_t ungranted;  /* HTTP/2: bytes received since the last WINDOW_UPDATE */
  struct stream *streams;
  struct stream h1;
};

/* Canned heads: HTTP/1 heads, or HTTP/2 header blocks without frames. */
struct records {
  int count;
  uint32_t lengths[RECORDS_MAX];
  char *bytes[RECORDS_MAX];
};

/* What the run is about; set by the arguments. */
extern enum job job;
extern enum version client_version;
extern int connections, streams_per_connection, name_count, verify;
extern struct records requests, responses, trailers;
extern uint64_t request_body_bytes, response_body_bytes;
extern char pattern[PERIOD];
extern uint64_t corrupt, checksum;

/* loop.c */
extern int epoll_fd;
uint64_t now_ns(void);
_Noreturn void die(int code, const char *what);
struct conn *adopt(int fd, enum role role);
void release(struct conn *c);
void queue(struct conn *c, const void *data, size_t length);
void queue_pattern(struct conn *c, size_t length);
int send_more(struct conn *c);
int read_some(struct conn *c);
void backend_listen(int port, enum version version);
void tls_set_up(const char *alpn, int is_resuming);
void tls_serve(const char *pem_path);
void tls_begin(struct conn *c, const char *name, SSL_SESSION *session);
void turn(int timeout_ms);

/* http1.c and http2.c: answer how many bytes they took, or SIZE_MAX when the connection is to be closed. */
size_t http1_feed(struct conn *c, const char *data, size_t length);
void http1_start(struct conn *c, uint64_t slot);
size_t http2_feed(struct conn *c, const char *data, size_t length);
void http2_open(struct conn *c);
void http2_start(struct conn *c, uint64_t slot);
void check_body(struct conn *c, uint64_t position, const char *data, size_t length);
/* Which canned head comes next on this connection: its name's first one, then those that follow in turn. */
int next_request(struct conn *c);
int next_response(struct conn *c);

/* main.c */
void client_connected(struct conn *c);
void client_tunnelled(struct conn *c);
void client_done(struct conn *c, uint64_t slot);
void client_failed(struct conn *c);
void keep_session(struct conn *c, SSL_SESSION *session);
void count_resumption(int was_resumed);
/* Shows what was wrong the first time. Answers SIZE_MAX. */
size_t wrong(const char *what, const char *data, size_t length);
