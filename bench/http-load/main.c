/*
 * Jobs, the run, arguments.
 *
 *   request     kept connections, each with `--streams` requests in flight, as fast as they are answered
 *   connection  open (with TLS: a full handshake), one request, close; `--connections` at a time
 *   resumed     the same, with the session of an earlier connection to the same name
 *   latency     requests at a fixed rate, each timed from the moment it was due
 *   fresh       as connection, each to the next of the hosts h0, h1, … below the first name's domain; timed from
 *               opening to the last byte. `--first-host` is the first; after `--hosts` of them they come again;
 *               `--count` ends the window early
 *   backend     only the backend
 *
 * With `--connect PORT` the targets are forward proxies, and each connection begins with a CONNECT to its name and
 * that port. With `--backend-tls PEM` the backend speaks TLS.
 *
 * Life of a run: open, warm up, let everything in flight end, print "ready", wait for a line on stdin, run the
 * window, let everything in flight end, print one line of JSON, wait for a line on stdin, exit. So whoever
 * samples the proxy's CPU at "ready" and at the result covers exactly the work counted in the result.
 * Every loop is bounded by a deadline; exit codes: 1 usage, 2 system, 3 too many failures, 4 deadline.
 */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const job_names[] = {"request", "connection", "resumed", "latency", "fresh", "backend"};

enum job job = JOB_REQUEST;
enum version client_version = HTTP1;
int connections = 1, streams_per_connection = 1, name_count, verify;
struct records requests, responses, trailers;
uint64_t request_body_bytes, response_body_bytes, corrupt, checksum;
char pattern[PERIOD];

static char names[LIST_MAX][256];
static int targets[LIST_MAX], target_count, sources = 1, connect_port;
static double seconds = 1, warmup = 0.3, rate = 1000;
static struct conn *clients[FD_MAX];
static SSL_SESSION *sessions[FD_MAX / 4];
static uint32_t first_host, host_count, hosts_opened;
static int stopping = 1, in_flight, opening, is_tls;
static uint32_t opened_total, next_index;
static uint64_t units, units_max, bytes, failures, resumptions;
static uint32_t *samples;
static uint64_t sample_count, schedule_start, schedule_step, schedule_next, schedule_end;

static int is_short_lived(void) { return job == JOB_CONNECTION || job == JOB_RESUMED || job == JOB_FRESH; }

/* ---- checking ---------------------------------------------------------------------------------------- */

size_t wrong(const char *what, const char *data, size_t length) {
  if (corrupt++ == 0) {
    fprintf(stderr, "http-load: %s:", what);
    for (size_t i = 0; i < length && i < 300; i++)
      fprintf(stderr, data[i] >= 32 && data[i] < 127 ? "%c" : "\\x%02x", (unsigned char)data[i]);
    fputc('\n', stderr);
  }
  return SIZE_MAX;
}

/* Compares body bytes with what they must be: of small bodies always, of large ones in verifying runs. */
void check_body(struct conn *c, uint64_t position, const char *data, size_t length) {
  uint64_t whole = c->role == ROLE_CLIENT ? response_body_bytes : request_body_bytes;
  if (position + length > whole) {
    wrong("a body too long", data, length);
    return;
  }
  if (!verify && whole > SMALL_BODY_BYTES_MAX) return;
  for (size_t done = 0; done < length;) {
    size_t at = (size_t)((position + done) % PERIOD), part = PERIOD - at < length - done ? PERIOD - at : length - done;
    if (memcmp(pattern + at, data + done, part) != 0) wrong("a changed body", data + done, part);
    done += part;
  }
  if (!verify || c->role != ROLE_CLIENT) return;
  for (size_t i = 0; i < length; i++) checksum += (uint8_t)data[i];
}

/* ---- which head comes next --------------------------------------------------------------------------- */

/* A file of requests holds each name's first head, then rounds of one head per name. */
int next_request(struct conn *c) {
  uint32_t name = c->index % (uint32_t)name_count, sent = c->heads_sent++;
  uint32_t rounds = (uint32_t)requests.count / (uint32_t)name_count - 1;
  if (sent == 0 || rounds == 0) return (int)name;
  return (int)(name + (uint32_t)name_count * (1 + (c->index + sent) % rounds));
}

/* A file of responses holds the first head of a connection, then those that follow. */
int next_response(struct conn *c) {
  uint32_t sent = c->heads_sent++, rounds = (uint32_t)responses.count - 1;
  return sent == 0 || rounds == 0 ? 0 : (int)(1 + sent % rounds);
}

/* ---- clients ----------------------------------------------------------------------------------------- */

static void client_open(uint32_t index);

/* The host that a connection asks for. */
static const char *name_of(struct conn *c) {
  static char fresh[300];
  if (job != JOB_FRESH) return names[c->index % (uint32_t)name_count];
  const char *domain = strchr(names[0], '.');
  snprintf(fresh, sizeof fresh, "h%u%s", c->host, domain ? domain : "");
  return fresh;
}

static void fresh_start(struct conn *c) {
  char head[512];
  queue(c, head, (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name_of(c)));
}

static void client_start(struct conn *c, uint64_t slot) {
  c->in_flight++;
  in_flight++;
  if (job == JOB_FRESH) {
    fresh_start(c);
    return;
  }
  if (c->version == HTTP2) http2_start(c, slot);
  else http1_start(c, slot);
}

void client_failed(struct conn *c) {
  uint32_t index = c->index;
  in_flight -= (int)c->in_flight;
  if (!c->is_opened) opening--;
  else if (!is_short_lived()) opened_total--;
  release(c);
  if (++failures > FAILURES_MAX) die(3, "too many failed connections");
  if (!stopping || !is_short_lived()) client_open(index);
}

/* Asks a forward proxy for a tunnel to the backend under this connection's name. */
static void client_ask(struct conn *c) {
  char head[1024];
  const char *name = name_of(c);
  int length = snprintf(head, sizeof head, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n", name, connect_port, name,
                        connect_port);
  c->is_asking = 1;
  queue(c, head, (size_t)length);
  uint32_t generation = c->generation;
  if (!send_more(c) && c->generation == generation) client_failed(c);
}

/* There is a way to the server: TLS first, where it is spoken. */
void client_tunnelled(struct conn *c) {
  SSL_SESSION *kept = job == JOB_RESUMED ? sessions[c->index % (uint32_t)connections] : NULL;
  /* OpenSSL lets a TLS 1.3 session be used once; a server need not send a new one when it resumes. */
  SSL_SESSION *session = kept ? SSL_SESSION_dup(kept) : NULL;
  if (is_tls) tls_begin(c, name_of(c), session);
  else client_connected(c);
  SSL_SESSION_free(session);
}

static void client_open(uint32_t index) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) die(2, "socket");
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (sources > 1) {
    /* Spread over 127.0.0.2 and up, so that ports resting in TIME_WAIT never run out. */
    address.sin_addr.s_addr = htonl(0x7f000002u + index % (uint32_t)sources);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&address, sizeof address) < 0) die(2, "bind source");
  }
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t)targets[index % (uint32_t)target_count]);
  if (connect(fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS) die(2, "connect");
  struct conn *c = adopt(fd, ROLE_CLIENT);
  c->version = (uint8_t)client_version;
  c->index = index;
  c->host = first_host + (host_count > 0 ? hosts_opened % host_count : hosts_opened);
  hosts_opened++;
  c->opened_at = job == JOB_FRESH ? now_ns() : 0;
  clients[index % (uint32_t)connections] = c;
  opening++;
  if (connect_port == 0) client_tunnelled(c);
  else client_ask(c);
}

/* The transport is there: proves the connection with one request. */
void client_connected(struct conn *c) {
  uint32_t generation = c->generation;
  if (c->version == HTTP2) http2_open(c);
  client_start(c, 0);
  if (!send_more(c) && c->generation == generation) client_failed(c);
}

/* For the next connections in the same place. */
void keep_session(struct conn *c, SSL_SESSION *session) {
  uint32_t place = c->index % (uint32_t)connections;
  SSL_SESSION_free(sessions[place]);
  sessions[place] = session;
}

void count_resumption(int was_resumed) { resumptions += (uint64_t)was_resumed; }

static void client_fill(struct conn *c) {
  uint32_t generation = c->generation;
  while (c->generation == generation && c->in_flight < (uint32_t)streams_per_connection) client_start(c, 0);
}

static void count_unit(struct conn *c, uint64_t slot) {
  units++;
  bytes += request_body_bytes + response_body_bytes;
  if (job != JOB_LATENCY && job != JOB_FRESH) return;
  uint64_t took = now_ns() - (job == JOB_FRESH ? c->opened_at : schedule_start + slot * schedule_step);
  if (sample_count < SAMPLES_MAX) samples[sample_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

/* One response is complete: counts it, then starts what comes next. Whoever calls sends what is queued. */
void client_done(struct conn *c, uint64_t slot) {
  c->in_flight--;
  in_flight--;
  if (!c->is_opened) {
    c->is_opened = 1;
    opening--;
    if (!is_short_lived()) {
      opened_total++;
      if (next_index < (uint32_t)connections) client_open(next_index++);
      if (!stopping && job == JOB_REQUEST) client_fill(c);
      return;
    }
  }
  count_unit(c, slot);
  if (is_short_lived()) {
    uint32_t index = c->index + (uint32_t)connections;
    release(c); /* an ordinary FIN from the client's side, as most clients do it */
    if (!stopping) client_open(index);
  } else if (!stopping && job == JOB_REQUEST) client_start(c, 0);
}

/* ---- the run ----------------------------------------------------------------------------------------- */

static void schedule_run(uint64_t now) {
  while (schedule_next < schedule_end && schedule_start + schedule_next * schedule_step <= now) {
    struct conn *c = clients[schedule_next % (uint64_t)connections];
    if (!c->is_opened || c->in_flight >= (uint32_t)streams_per_connection) return; /* late: as soon as it is free */
    uint32_t generation = c->generation;
    client_start(c, schedule_next++);
    if (!send_more(c) && c->generation == generation) client_failed(c);
  }
  if (schedule_next >= schedule_end) stopping = 1;
}

/* Turns until every request in flight has ended. */
static void drain(double limit_seconds) {
  uint64_t deadline = now_ns() + (uint64_t)(limit_seconds * 1e9);
  stopping = 1;
  while (in_flight > 0 || opening > 0) {
    turn(20);
    if (now_ns() > deadline) {
      errno = ETIMEDOUT;
      die(4, "work in flight did not end");
    }
  }
}

static void start_all(void) {
  for (int i = 0; i < connections; i++) {
    if (is_short_lived()) client_open((uint32_t)i);
    else if (clients[i]->is_opened) {
      struct conn *c = clients[i];
      uint32_t generation = c->generation;
      client_fill(c);
      if (!send_more(c) && c->generation == generation) client_failed(c);
    }
  }
}

/* Runs the job for a while; returns how long it really took, up to the last unit's end, in seconds. */
static double window(double length) {
  uint64_t start = now_ns(), end = start + (uint64_t)(length * 1e9);
  units = bytes = sample_count = resumptions = 0;
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
  } else {
    start_all();
    while (now_ns() < end && (units_max == 0 || units < units_max)) turn(20);
  }
  drain(20);
  return (double)(now_ns() - start) / 1e9;
}

/* Opens the kept connections, a bounded number at a time, each proved by one request. */
static void open_all(void) {
  if (is_short_lived()) return;
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
  return sample_count == 0 ? 0 : samples[(uint64_t)(share * (double)(sample_count - 1))] / 1e3;
}

static void print_result(double took) {
  qsort(samples, sample_count, sizeof *samples, compare_samples);
  printf("{\"seconds\":%.6f,\"units\":%llu,\"bytes\":%llu,\"failures\":%llu,\"corrupt\":%llu,\"checksum\":%llu,"
         "\"resumptions\":%llu,\"open\":%u,\"p50Us\":%.3f,\"p99Us\":%.3f,\"maxUs\":%.3f}\n",
         took, (unsigned long long)units, (unsigned long long)bytes, (unsigned long long)failures,
         (unsigned long long)corrupt, (unsigned long long)checksum, (unsigned long long)resumptions, opened_total,
         percentile_us(0.5), percentile_us(0.99), percentile_us(1));
  fflush(stdout);
}

/* ---- arguments --------------------------------------------------------------------------------------- */

static int parse_ports(const char *text, int *ports) {
  int count = 0;
  for (char *end; *text && count < LIST_MAX; text = *end ? end + 1 : end) ports[count++] = (int)strtol(text, &end, 10);
  return count;
}

static void parse_names(const char *text) {
  for (size_t length; *text && name_count < LIST_MAX; text += length + (text[length] == ',')) {
    length = strcspn(text, ",");
    snprintf(names[name_count++], sizeof names[0], "%.*s", (int)length, text);
  }
}

static void parse_backends(const char *text, enum version version) {
  int ports[LIST_MAX], count = parse_ports(text, ports);
  for (int i = 0; i < count; i++) backend_listen(ports[i], version);
}

/* Each record is its length, 32 bits little-endian, and its bytes. */
static void read_records(const char *path, struct records *records) {
  FILE *file = fopen(path, "rb");
  if (!file) die(1, path);
  uint32_t length;
  while (records->count < RECORDS_MAX && fread(&length, sizeof length, 1, file) == 1) {
    char *record = length <= RECORD_BYTES_MAX ? malloc(length) : NULL;
    if (!record || fread(record, 1, length, file) != length) die(1, "a record too long or cut short");
    records->lengths[records->count] = length;
    records->bytes[records->count++] = record;
  }
  fclose(file);
}

static void parse_job(const char *value) {
  for (unsigned i = 0; i < sizeof job_names / sizeof *job_names; i++)
    if (!strcmp(value, job_names[i])) {
      job = (enum job)i;
      return;
    }
  die(1, "unknown job");
}

static void parse_argument(const char *name, const char *value) {
  if (!strcmp(name, "--job")) parse_job(value);
  else if (!strcmp(name, "--version")) client_version = atoi(value) == 2 ? HTTP2 : HTTP1;
  else if (!strcmp(name, "--tls")) is_tls = atoi(value);
  else if (!strcmp(name, "--connect")) connect_port = atoi(value);
  else if (!strcmp(name, "--backend-tls")) tls_serve(value);
  else if (!strcmp(name, "--targets")) target_count = parse_ports(value, targets);
  else if (!strcmp(name, "--backends-http1")) parse_backends(value, HTTP1);
  else if (!strcmp(name, "--backends-http2")) parse_backends(value, HTTP2);
  else if (!strcmp(name, "--names")) parse_names(value);
  else if (!strcmp(name, "--requests")) read_records(value, &requests);
  else if (!strcmp(name, "--responses")) read_records(value, &responses);
  else if (!strcmp(name, "--trailers")) read_records(value, &trailers);
  else if (!strcmp(name, "--request-body")) request_body_bytes = strtoull(value, NULL, 10);
  else if (!strcmp(name, "--response-body")) response_body_bytes = strtoull(value, NULL, 10);
  else if (!strcmp(name, "--connections")) connections = atoi(value);
  else if (!strcmp(name, "--streams")) streams_per_connection = atoi(value);
  else if (!strcmp(name, "--sources")) sources = atoi(value);
  else if (!strcmp(name, "--seconds")) seconds = atof(value);
  else if (!strcmp(name, "--warmup")) warmup = atof(value);
  else if (!strcmp(name, "--rate")) rate = atof(value);
  else if (!strcmp(name, "--first-host")) first_host = (uint32_t)strtoul(value, NULL, 10);
  else if (!strcmp(name, "--hosts")) host_count = (uint32_t)strtoul(value, NULL, 10);
  else if (!strcmp(name, "--count")) units_max = strtoull(value, NULL, 10);
  else if (!strcmp(name, "--verify")) verify = atoi(value);
  else die(1, name);
}

static void check_arguments(void) {
  if (connections < 1 || connections > FD_MAX / 4 || sources < 1 || sources > 200) die(1, "arguments out of range");
  if (streams_per_connection < 1 || streams_per_connection > STREAM_SLOTS / 2) die(1, "--streams out of range");
  if (client_version == HTTP1 && streams_per_connection != 1) die(1, "HTTP/1.1 has one request in flight");
  if (client_version == HTTP2 && (request_body_bytes | response_body_bytes) > H2_BODY_BYTES_MAX)
    die(1, "HTTP/2 bodies are small here");
  if (job == JOB_FRESH && (client_version != HTTP1 || request_body_bytes > 0)) die(1, "fresh: HTTP/1.1, no body");
  if (job == JOB_RESUMED && connections % name_count != 0) die(1, "resumed: each place has one name");
  if (job == JOB_BACKEND) return;
  if (target_count == 0 || name_count == 0) die(1, "--targets and --names are needed");
  if (requests.count < name_count || requests.count % name_count != 0) die(1, "--requests: not one set per name");
}

int main(int argc, char **argv) {
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  samples = malloc(SAMPLES_MAX * sizeof *samples);
  if (epoll_fd < 0 || !samples) die(2, "set-up");
  for (int i = 1; i + 1 < argc; i += 2) parse_argument(argv[i], argv[i + 1]);
  check_arguments();
  uint32_t state = 2463534242u; /* xorshift: the same pattern in every process */
  for (int i = 0; i < PERIOD; i++) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    pattern[i] = (char)state;
  }
  if (is_tls) tls_set_up(client_version == HTTP2 ? "h2" : "http/1.1", job == JOB_RESUMED);
  if (job != JOB_BACKEND) {
    open_all();
    if (warmup > 0) window(warmup);
    drain(10);
    failures = 0;
  }
  puts("ready");
  fflush(stdout);
  await_line();
  if (job == JOB_BACKEND) return 0;
  print_result(window(seconds));
  await_line();
  return 0;
}
