/*
 * The load generator and its backend: one epoll loop, one core, plain system calls.
 *
 * It is C because the proxy must be the bottleneck while load and backend share one core: the same loop on
 * Node's TCP handles managed little more than half the connections per second (see README.md).
 *
 * A connection opens with a canned ClientHello, then speaks 32-byte frames. Frame kinds:
 *   E  echo:      the backend answers with the same 32 bytes
 *   D  download:  the backend answers with `length` bytes of the pattern
 *   U  upload:    `length` bytes of the pattern follow; the backend then answers with the same 32 bytes
 *
 * Life of a run: open, warm up, let everything in flight end, print "ready", wait for a line on stdin, run the
 * window, let everything in flight end, print one line of JSON, wait for a line on stdin, exit. So whoever
 * samples the proxy's CPU at "ready" and at the result covers exactly the work counted in the result.
 * Every loop is bounded by a deadline; exit codes: 1 usage, 2 system, 3 too many failures, 4 deadline.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  FRAME = 32,
  PERIOD = 256 * 1024,       /* the pattern repeats with this period; also the largest single send and read */
  FD_MAX = 65536,
  HELLO_MAX = 2048,          /* one canned ClientHello */
  LIST_MAX = 64,             /* ports, and hellos */
  EVENTS = 128,
  FAILURES_MAX = 1000,
  SAMPLES_MAX = 4 * 1000 * 1000,
  TURN_BYTES = 1024 * 1024,  /* what one bulk connection may move before the others get their turn */
  OPENING_MAX = 256,         /* connections of the first wave in flight at once */
};

enum job { JOB_EXCHANGE, JOB_CONNECTION, JOB_DOWNLOAD, JOB_UPLOAD, JOB_LATENCY, JOB_IDLE, JOB_BACKEND, JOB_RESERVE };
static const char *const job_names[] = {"exchange", "connection", "download", "upload",
                                        "latency",  "idle",       "backend",  "reserve"};

enum role { ROLE_FREE, ROLE_LISTENER, ROLE_CLIENT, ROLE_BACKEND };

struct conn {
  uint32_t generation; /* tells an event of a closed descriptor from one of its successor */
  uint8_t role;
  uint8_t wants_out;
  uint8_t busy;        /* client: a unit of work is in flight */
  uint8_t opened;      /* client: its first exchange is done */
  uint32_t index;      /* client: its place in the wave, chooses hello, target and source */
  uint32_t head_left;  /* backend: bytes of the hello's record still to skip; client: head bytes still unsent */
  uint32_t frame_have; /* bytes of the incoming frame gathered */
  uint64_t in_left;    /* pattern bytes still to receive */
  uint64_t out_left;   /* pattern bytes still to send */
  uint64_t position;   /* in the current transfer's pattern */
  uint64_t slot;       /* latency: which tick of the schedule is in flight */
  uint8_t record_have; /* backend: bytes of the hello's record header gathered, 5 when known */
  uint8_t record[5];
  char frame[FRAME];
};

static struct conn conns[FD_MAX];
static int client_fds[FD_MAX];
static char pattern[PERIOD], scratch[PERIOD];
static char heads[LIST_MAX][HELLO_MAX + FRAME];
static uint32_t head_lengths[LIST_MAX];
static int head_count, target_count, backend_count;
static int targets[LIST_MAX], backends[LIST_MAX];
static enum job job = JOB_EXCHANGE;
static int connections = 1, sources = 1, verify;
static double seconds = 1, warmup = 0.3, rate = 1000;
static uint64_t transfer_bytes = 64ull << 20;

static int epoll_fd;
static int stopping = 1, in_flight, opening;
static uint32_t opened_total, next_index;
static uint64_t units, bytes, failures, corrupt, checksum;
static uint32_t *samples;
static uint64_t sample_count;
static uint64_t schedule_start, schedule_step, schedule_next, schedule_end;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(int code, const char *what) {
  fprintf(stderr, "generator: %s: %s\n", what, errno ? strerror(errno) : "");
  exit(code);
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

static struct conn *adopt(int fd, enum role role, uint32_t events) {
  if (fd >= FD_MAX) die(2, "too many descriptors");
  struct conn *c = &conns[fd];
  uint32_t generation = c->generation + 1;
  memset(c, 0, sizeof *c);
  c->generation = generation;
  c->role = role;
  struct epoll_event event = {.events = events, .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die(2, "epoll_ctl");
  return c;
}

static void want_out(int fd, struct conn *c, int wanted) {
  if (c->wants_out == wanted) return;
  c->wants_out = (uint8_t)wanted;
  uint32_t events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN;
  struct epoll_event event = {.events = events, .data.u64 = (uint64_t)c->generation << 32 | (uint32_t)fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0) die(2, "epoll_ctl");
}

static void release(int fd, struct conn *c) {
  c->role = ROLE_FREE;
  c->generation++;
  close(fd);
}

static void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in loopback(uint32_t last, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(0x7f000000u + last);
  return address;
}

/* ---- moving the pattern ------------------------------------------------------------------------------ */

/* Sends what the socket takes. Returns 0 when the peer is gone. */
static int push_pattern(int fd, struct conn *c) {
  uint64_t budget = TURN_BYTES;
  while (c->out_left > 0 && budget > 0) {
    uint64_t at = c->position % PERIOD;
    uint64_t length = PERIOD - at < c->out_left ? PERIOD - at : c->out_left;
    ssize_t sent = send(fd, pattern + at, length, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) return 0;
      break;
    }
    c->position += (uint64_t)sent;
    c->out_left -= (uint64_t)sent;
    budget -= (uint64_t)sent < budget ? (uint64_t)sent : budget;
  }
  want_out(fd, c, c->out_left > 0);
  return 1;
}

/* Compares received pattern bytes with what they must be, and sums them. Only in verifying runs. */
static void check_pattern(struct conn *c, const char *data, uint64_t length) {
  for (uint64_t done = 0; done < length;) {
    uint64_t at = (c->position + done) % PERIOD;
    uint64_t part = PERIOD - at < length - done ? PERIOD - at : length - done;
    if (memcmp(pattern + at, data + done, part) != 0) corrupt++;
    for (uint64_t i = 0; i < part; i++) checksum += (uint8_t)data[done + i];
    done += part;
  }
}

/* Receives pattern bytes; without `verify` the kernel discards them (MSG_TRUNC), which spares this core a copy. */
static ssize_t pull_pattern(int fd, struct conn *c) {
  uint64_t wanted = c->in_left < PERIOD || verify ? PERIOD : TURN_BYTES;
  if (wanted > c->in_left) wanted = c->in_left;
  ssize_t got = recv(fd, scratch, wanted, verify ? 0 : MSG_TRUNC);
  if (got > 0) {
    if (verify) check_pattern(c, scratch, (uint64_t)got);
    c->position += (uint64_t)got;
    c->in_left -= (uint64_t)got;
  }
  return got;
}

/* ---- backend ----------------------------------------------------------------------------------------- */

static void backend_accept(int fd) {
  for (int i = 0; i < EVENTS; i++) {
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return;
    no_delay(accepted);
    adopt(accepted, ROLE_BACKEND, EPOLLIN);
  }
}

/* Acts on one whole frame. Returns 0 when the peer is gone. */
static int backend_frame(int fd, struct conn *c) {
  uint64_t length;
  memcpy(&length, c->frame + 8, sizeof length);
  c->position = 0;
  if (c->frame[0] == 'E') return send(fd, c->frame, FRAME, MSG_NOSIGNAL) == FRAME;
  if (c->frame[0] == 'U') {
    c->in_left = length;
    return 1;
  }
  if (c->frame[0] != 'D') return 0;
  c->out_left = length;
  return push_pattern(fd, c);
}

/* Skips the hello's record, then gathers frames. Returns 0 when the connection is to be closed. */
static int backend_bytes(int fd, struct conn *c, const char *data, size_t length) {
  size_t at = 0;
  while (at < length) {
    if (c->record_have < 5) {
      c->record[c->record_have++] = (uint8_t)data[at++];
      if (c->record_have == 5) c->head_left = (uint32_t)c->record[3] << 8 | c->record[4];
      continue;
    }
    size_t part = length - at;
    if (c->head_left > 0) {
      if (part > c->head_left) part = c->head_left;
      c->head_left -= (uint32_t)part;
    } else if (c->in_left > 0) {
      if (part > c->in_left) part = c->in_left;
      if (verify) check_pattern(c, data + at, part);
      c->position += part;
      c->in_left -= part;
      if (c->in_left == 0 && send(fd, c->frame, FRAME, MSG_NOSIGNAL) != FRAME) return 0;
    } else {
      if (part > FRAME - c->frame_have) part = FRAME - c->frame_have;
      memcpy(c->frame + c->frame_have, data + at, part);
      c->frame_have += (uint32_t)part;
      if (c->frame_have == FRAME) {
        c->frame_have = 0;
        if (!backend_frame(fd, c)) return 0;
      }
    }
    at += part;
  }
  return 1;
}

static void backend_event(int fd, struct conn *c, uint32_t events) {
  int alive = 1;
  if (events & EPOLLOUT) alive = push_pattern(fd, c);
  if (alive && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    if (c->in_left > 0) {
      ssize_t got = pull_pattern(fd, c);
      alive = got > 0 || (got < 0 && errno == EAGAIN);
      if (got > 0 && c->in_left == 0) alive = send(fd, c->frame, FRAME, MSG_NOSIGNAL) == FRAME;
    } else {
      ssize_t got = recv(fd, scratch, 16384, 0);
      alive = got > 0 ? backend_bytes(fd, c, scratch, (size_t)got) : got < 0 && errno == EAGAIN;
    }
  }
  if (!alive) release(fd, c);
}

static void backend_listen(void) {
  for (int i = 0; i < backend_count; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = loopback(1, backends[i]);
    if (fd < 0 || bind(fd, (void *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die(2, "backend listen");
    adopt(fd, ROLE_LISTENER, EPOLLIN);
  }
}

/*
 * Binds `count` free ports without listening, and prints them. While this process lives, nobody is given one of
 * them by chance, neither to listen on nor to connect from; who names the port, with SO_REUSEADDR, may have it.
 */
static void reserve_ports(int count) {
  for (int i = 0; i < count; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = loopback(1, 0);
    socklen_t length = sizeof address;
    if (fd < 0 || bind(fd, (void *)&address, length) < 0) die(2, "reserve a port");
    if (getsockname(fd, (void *)&address, &length) < 0) die(2, "reserve a port");
    printf(i == 0 ? "%d" : ",%d", ntohs(address.sin_port));
  }
  puts("");
  fflush(stdout);
}

/* ---- client ------------------------------------------------------------------------------------------ */

static void client_open(uint32_t index);

static char job_frame_kind(void) { return job == JOB_DOWNLOAD ? 'D' : job == JOB_UPLOAD ? 'U' : 'E'; }

static void client_failed(int fd, struct conn *c) {
  uint32_t index = c->index;
  if (c->busy) in_flight--;
  if (!c->opened) opening--;
  else if (job != JOB_CONNECTION) opened_total--;
  release(fd, c);
  if (++failures > FAILURES_MAX) die(3, "too many failed connections");
  if (!stopping || job != JOB_CONNECTION) client_open(index);
}

/* Sends what is left of hello + first frame. The kernel nearly always takes it at once. */
static int client_head(int fd, struct conn *c) {
  int which = (int)(c->index % (uint32_t)head_count);
  uint32_t total = head_lengths[which];
  ssize_t sent = send(fd, heads[which] + total - c->head_left, c->head_left, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS) return 0;
  if (sent > 0) c->head_left -= (uint32_t)sent;
  want_out(fd, c, c->head_left > 0);
  return 1;
}

static void client_open(uint32_t index) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) die(2, "socket");
  no_delay(fd);
  if (sources > 1) {
    /* Spread over 127.0.0.2 and up, so that ports resting in TIME_WAIT never run out. */
    struct sockaddr_in source = loopback(2 + index % (uint32_t)sources, 0);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&source, sizeof source) < 0) die(2, "bind source");
  }
  struct sockaddr_in target = loopback(1, targets[index % (uint32_t)target_count]);
  if (connect(fd, (void *)&target, sizeof target) < 0 && errno != EINPROGRESS) die(2, "connect");
  struct conn *c = adopt(fd, ROLE_CLIENT, EPOLLIN);
  c->index = index;
  c->busy = 1;
  c->head_left = head_lengths[index % (uint32_t)head_count];
  in_flight++;
  opening++;
  client_fds[index % (uint32_t)connections] = fd;
  if (!client_head(fd, c)) client_failed(fd, c);
}

/* Starts one unit of work on an open connection. */
static void client_start(int fd, struct conn *c) {
  char frame[FRAME];
  memset(frame, 0, sizeof frame);
  frame[0] = job_frame_kind();
  memcpy(frame + 8, &transfer_bytes, sizeof transfer_bytes);
  memcpy(frame + 16, &units, sizeof units);
  memcpy(c->frame, frame, FRAME);
  c->busy = 1;
  in_flight++;
  c->position = 0;
  c->frame_have = 0;
  if (job == JOB_DOWNLOAD) c->in_left = transfer_bytes;
  if (send(fd, frame, FRAME, MSG_NOSIGNAL) != FRAME) {
    client_failed(fd, c);
    return;
  }
  if (job == JOB_UPLOAD) {
    c->out_left = transfer_bytes;
    if (!push_pattern(fd, c)) client_failed(fd, c);
  }
}

/* Latency: the tick that is due on this connection, if any; the clock starts at the tick, not at the send. */
static void schedule_tick(int fd, struct conn *c, uint64_t slot) {
  c->slot = slot;
  client_start(fd, c);
}

static void schedule_run(uint64_t now) {
  while (schedule_next < schedule_end && schedule_start + schedule_next * schedule_step <= now) {
    int fd = client_fds[schedule_next % (uint64_t)connections];
    struct conn *c = &conns[fd];
    if (c->role != ROLE_CLIENT || c->busy) return; /* late: it goes out as soon as the connection is free */
    schedule_tick(fd, c, schedule_next++);
  }
  if (schedule_next >= schedule_end) stopping = 1;
}

/* One unit is done: count it, then start what comes next. */
static void client_done(int fd, struct conn *c) {
  int first = !c->opened;
  c->busy = 0;
  in_flight--;
  if (first) {
    c->opened = 1;
    opening--;
    if (job != JOB_CONNECTION) {
      opened_total++;
      if (next_index < (uint32_t)connections) client_open(next_index++);
      if (!stopping && job != JOB_LATENCY && job != JOB_IDLE) client_start(fd, c);
      return;
    }
  }
  units++;
  if (job == JOB_DOWNLOAD || job == JOB_UPLOAD) bytes += transfer_bytes;
  if (job == JOB_LATENCY) {
    uint64_t took = now_ns() - (schedule_start + c->slot * schedule_step);
    if (sample_count < SAMPLES_MAX) samples[sample_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    return;
  }
  if (job == JOB_CONNECTION) {
    uint32_t index = c->index + (uint32_t)connections;
    release(fd, c); /* an ordinary FIN from the client's side, as most clients do it */
    if (!stopping) client_open(index);
    return;
  }
  if (!stopping) client_start(fd, c);
}

static int client_reply(int fd, struct conn *c) {
  ssize_t got = recv(fd, scratch, FRAME, 0);
  if (got <= 0) return got < 0 && errno == EAGAIN;
  const char *expected = c->opened ? c->frame : heads[c->index % (uint32_t)head_count] +
                                                    head_lengths[c->index % (uint32_t)head_count] - FRAME;
  if (c->frame_have + (uint32_t)got > FRAME || memcmp(expected + c->frame_have, scratch, (size_t)got) != 0) corrupt++;
  for (ssize_t i = 0; i < got; i++) checksum += (uint8_t)scratch[i];
  c->frame_have += (uint32_t)got;
  if (c->frame_have >= FRAME) {
    c->frame_have = 0;
    client_done(fd, c);
  }
  return 1;
}

static void client_event(int fd, struct conn *c, uint32_t events) {
  uint32_t generation = c->generation;
  int alive = 1;
  if (events & EPOLLOUT) alive = c->head_left > 0 ? client_head(fd, c) : push_pattern(fd, c);
  if (alive && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    if (c->in_left > 0) {
      ssize_t got = pull_pattern(fd, c);
      alive = got > 0 || (got < 0 && errno == EAGAIN);
      if (got > 0 && c->in_left == 0) client_done(fd, c);
    } else {
      alive = client_reply(fd, c);
    }
  }
  if (!alive && c->generation == generation) client_failed(fd, c);
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static void turn(int timeout_ms) {
  struct epoll_event events[EVENTS];
  int count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
  if (count < 0 && errno != EINTR) die(2, "epoll_wait");
  for (int i = 0; i < count; i++) {
    int fd = (int)(uint32_t)events[i].data.u64;
    struct conn *c = &conns[fd];
    if (c->generation != (uint32_t)(events[i].data.u64 >> 32)) continue;
    if (c->role == ROLE_LISTENER) backend_accept(fd);
    else if (c->role == ROLE_CLIENT) client_event(fd, c, events[i].events);
    else if (c->role == ROLE_BACKEND) backend_event(fd, c, events[i].events);
  }
}

/* Turns until every client unit in flight has ended. */
static void drain(double limit_seconds) {
  uint64_t deadline = now_ns() + (uint64_t)(limit_seconds * 1e9);
  stopping = 1;
  while (in_flight > 0) {
    turn(20);
    if (now_ns() > deadline) {
      errno = ETIMEDOUT;
      die(4, "work in flight did not end");
    }
  }
}

/* Runs the job for a while; returns how long it really took, up to the last unit's end, in seconds. */
static double window(double length) {
  uint64_t start = now_ns(), end = start + (uint64_t)(length * 1e9);
  units = bytes = sample_count = 0;
  stopping = 0;
  if (job == JOB_LATENCY) {
    schedule_step = (uint64_t)(1e9 / rate);
    schedule_start = start + schedule_step;
    schedule_next = 0;
    schedule_end = (uint64_t)(length * rate);
    while (!stopping && now_ns() < end + 5000000000ull) {
      schedule_run(now_ns());
      turn(0); /* spins, so that this process's own wake-up is in no figure */
    }
  } else if (job != JOB_IDLE) {
    for (int i = 0; i < connections; i++) {
      if (job == JOB_CONNECTION) client_open((uint32_t)i);
      else if (conns[client_fds[i]].role == ROLE_CLIENT) client_start(client_fds[i], &conns[client_fds[i]]);
    }
    while (now_ns() < end) turn(20);
  }
  drain(10);
  return (double)(now_ns() - start) / 1e9;
}

/* Opens the kept connections, a bounded number at a time, each proved by one exchange. */
static void open_all(void) {
  if (job == JOB_CONNECTION) return;
  uint64_t deadline = now_ns() + 30000000000ull;
  while (next_index < (uint32_t)connections && next_index < OPENING_MAX) client_open(next_index++);
  while (opened_total < (uint32_t)connections) {
    turn(20);
    if (now_ns() > deadline) {
      errno = ETIMEDOUT;
      die(4, "connections did not open");
    }
  }
}

/* Serves the backend while waiting for a line (or the end) of stdin. */
static void await_line(void) {
  char byte = 0;
  for (;;) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (poll(&input, 1, 0) > 0) {
      while (read(0, &byte, 1) == 1 && byte != '\n') {}
      return;
    }
    turn(5);
  }
}

static int compare_samples(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile_us(double share) {
  if (sample_count == 0) return 0;
  uint64_t at = (uint64_t)(share * (double)(sample_count - 1));
  return samples[at] / 1e3;
}

static void print_result(double took) {
  qsort(samples, sample_count, sizeof *samples, compare_samples);
  printf("{\"seconds\":%.6f,\"units\":%llu,\"bytes\":%llu,\"failures\":%llu,\"corrupt\":%llu,\"checksum\":%llu,"
         "\"open\":%u,\"p50Us\":%.3f,\"p99Us\":%.3f,\"maxUs\":%.3f}\n",
         took, (unsigned long long)units, (unsigned long long)bytes, (unsigned long long)failures,
         (unsigned long long)corrupt, (unsigned long long)checksum, opened_total, percentile_us(0.5),
         percentile_us(0.99), percentile_us(1));
  fflush(stdout);
}

/* ---- arguments --------------------------------------------------------------------------------------- */

static int parse_ports(const char *text, int *ports) {
  int count = 0;
  for (char *end; *text && count < LIST_MAX; text = *end ? end + 1 : end) ports[count++] = (int)strtol(text, &end, 10);
  return count;
}

/* The file holds ClientHello records one after another, each with its own length in its header. */
static void read_hellos(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) die(1, path);
  unsigned char header[5];
  while (head_count < LIST_MAX && fread(header, 1, 5, file) == 5) {
    uint32_t length = (uint32_t)header[3] << 8 | header[4];
    if (length + 5 > HELLO_MAX) die(1, "hello too long");
    char *head = heads[head_count];
    memcpy(head, header, 5);
    if (fread(head + 5, 1, length, file) != length) die(1, "hello cut short");
    memset(head + 5 + length, 0, FRAME);
    head[5 + length] = 'E';
    head_lengths[head_count++] = 5 + length + FRAME;
  }
  fclose(file);
}

static void parse_argument(const char *name, const char *value) {
  if (!strcmp(name, "--job")) {
    for (unsigned i = 0; i < sizeof job_names / sizeof *job_names; i++)
      if (!strcmp(value, job_names[i])) {
        job = (enum job)i;
        return;
      }
    die(1, "unknown job");
  }
  else if (!strcmp(name, "--targets")) target_count = parse_ports(value, targets);
  else if (!strcmp(name, "--backends")) backend_count = parse_ports(value, backends);
  else if (!strcmp(name, "--hellos")) read_hellos(value);
  else if (!strcmp(name, "--connections")) connections = atoi(value);
  else if (!strcmp(name, "--sources")) sources = atoi(value);
  else if (!strcmp(name, "--seconds")) seconds = atof(value);
  else if (!strcmp(name, "--warmup")) warmup = atof(value);
  else if (!strcmp(name, "--rate")) rate = atof(value);
  else if (!strcmp(name, "--bytes")) transfer_bytes = strtoull(value, NULL, 10);
  else if (!strcmp(name, "--verify")) verify = atoi(value);
  else die(1, name);
}

int main(int argc, char **argv) {
  errno = 0;
  for (int i = 1; i + 1 < argc; i += 2) parse_argument(argv[i], argv[i + 1]);
  if (connections < 1 || connections > FD_MAX / 4 || sources < 1 || sources > 200) die(1, "arguments out of range");
  if (job == JOB_RESERVE) {
    reserve_ports(connections);
    while (getchar() != EOF) {}
    return 0;
  }
  if (job != JOB_BACKEND && (target_count == 0 || head_count == 0)) die(1, "--targets and --hellos are needed");
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  samples = malloc(SAMPLES_MAX * sizeof *samples);
  if (epoll_fd < 0 || !samples) die(2, "set-up");
  uint32_t state = 2463534242u; /* xorshift: the same pattern in every process */
  for (int i = 0; i < PERIOD; i++) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    pattern[i] = (char)state;
  }
  backend_listen();
  if (job != JOB_BACKEND) {
    open_all();
    if (warmup > 0) window(warmup);
    drain(10);
    checksum = corrupt = failures = 0;
  }
  puts("ready");
  fflush(stdout);
  await_line();
  if (job == JOB_BACKEND) return 0;
  print_result(window(seconds));
  await_line();
  return 0;
}
