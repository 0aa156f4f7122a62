/*
 * HTTP/2, both roles. Header blocks are canned: the first of a connection enters its constant fields into the
 * dynamic table, those that follow refer to them, as every client's encoder does after its first request. Received
 * blocks are not decoded; a response must begin with the static entry of ":status: 200", as all encoders write it.
 * Bodies are small (H2_BODY_BYTES_MAX), so that no window but the connection's is ever near its end.
 */
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, HAS_PRIORITY = 32 };
enum { HEADER_TABLE_SIZE = 1, ENABLE_PUSH = 2, MAX_CONCURRENT_STREAMS = 3, INITIAL_WINDOW_SIZE = 4 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const uint32_t granted_bytes = 1u << 30;

static uint32_t read32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write32(unsigned char *p, uint32_t value) {
  for (int i = 0; i < 4; i++) p[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void queue_frame_head(struct conn *c, size_t length, int type, int flags, uint32_t id) {
  unsigned char head[9] = {(unsigned char)(length >> 16), (unsigned char)(length >> 8), (unsigned char)length,
                           (unsigned char)type, (unsigned char)flags};
  write32(head + 5, id);
  queue(c, head, sizeof head);
}

static void queue_block(struct conn *c, struct records *records, int which, int flags, uint32_t id) {
  queue_frame_head(c, records->lengths[which], HEADERS, END_HEADERS | flags, id);
  queue(c, records->bytes[which], records->lengths[which]);
}

static void queue_body(struct conn *c, uint64_t length, int flags, uint32_t id) {
  queue_frame_head(c, (size_t)length, DATA, flags, id);
  queue_pattern(c, (size_t)length);
}

static void queue_grant(struct conn *c, uint32_t bytes) {
  unsigned char increment[4];
  write32(increment, bytes);
  queue_frame_head(c, sizeof increment, WINDOW_UPDATE, 0, 0);
  queue(c, increment, sizeof increment);
}

/* What either side says first. */
void http2_open(struct conn *c) {
  static const unsigned char settings[] = {
      0, ENABLE_PUSH, 0, 0, 0, 0, 0, MAX_CONCURRENT_STREAMS, 0, 0, 1, 0, 0, INITIAL_WINDOW_SIZE, 0, 0x10, 0, 0};
  int is_client = c->role == ROLE_CLIENT;
  if (is_client) queue(c, preface, sizeof preface - 1);
  const unsigned char *first = is_client ? settings : settings + 6; /* ENABLE_PUSH is the client's to say */
  size_t length = is_client ? sizeof settings : sizeof settings - 6;
  queue_frame_head(c, length, SETTINGS, 0, 0);
  queue(c, first, length);
  queue_grant(c, granted_bytes);
  c->streams = calloc(STREAM_SLOTS, sizeof *c->streams);
  if (!c->streams) die(2, "memory");
}

static struct stream *stream_of(struct conn *c, uint32_t id) { return &c->streams[(id >> 1) % STREAM_SLOTS]; }

void http2_start(struct conn *c, uint64_t slot) {
  while (stream_of(c, c->next_id)->id != 0) c->next_id += 2; /* ids may be left out (RFC 9113 §5.1.1) */
  struct stream *s = stream_of(c, c->next_id);
  memset(s, 0, sizeof *s);
  s->id = c->next_id;
  s->slot = slot;
  c->next_id += 2;
  queue_block(c, &requests, next_request(c), request_body_bytes == 0 ? END_STREAM : 0, s->id);
  if (request_body_bytes > 0) queue_body(c, request_body_bytes, END_STREAM, s->id);
}

static void respond(struct conn *c, uint32_t id) {
  queue_block(c, &responses, next_response(c), 0, id);
  queue_body(c, response_body_bytes, trailers.count > 0 ? 0 : END_STREAM, id);
  if (trailers.count > 0) queue_block(c, &trailers, 0, END_STREAM, id);
}

/* Whether a block begins with the indexed field ":status: 200", behind any change of the table's size. */
static int is_status_200(const unsigned char *block, size_t length) {
  size_t at = 0;
  while (at < length && (block[at] & 0xe0) == 0x20) {
    int is_long = (block[at++] & 0x1f) == 0x1f;
    while (is_long && at < length && block[at++] & 0x80) {}
  }
  return at < length && block[at] == 0x88;
}

static int client_ended(struct conn *c, struct stream *s, const char *frame, size_t length) {
  if (s->position != response_body_bytes) return wrong("another length", frame, length) == 0;
  s->id = 0;
  client_done(c, s->slot);
  return 1;
}

static int client_frame(struct conn *c, int type, int flags, uint32_t id, const char *payload, size_t length) {
  struct stream *s = stream_of(c, id);
  if (s->id != id) return wrong("a frame of no stream", payload, length) == 0;
  if (type == DATA) {
    if (!s->has_head || flags & PADDED) return wrong("data before the head", payload, length) == 0;
    check_body(c, s->position, payload, length);
    s->position += length;
  } else if (!s->has_head) {
    if (!(flags & END_HEADERS) || flags & PADDED || !is_status_200((const void *)payload, length))
      return wrong("not a 200", payload, length) == 0;
    s->has_head = 1;
  }
  return flags & END_STREAM ? client_ended(c, s, payload, length) : 1;
}

/* The backend answers when the request has ended, whatever it was. */
static int backend_frame(struct conn *c, int type, int flags, uint32_t id, size_t length) {
  if (type == DATA) {
    struct stream *s = stream_of(c, id);
    if (s->id != id) memset(s, 0, sizeof *s), s->id = id;
    s->position += length;
    if (!(flags & END_STREAM)) return 1;
    if (s->position != request_body_bytes) return wrong("another length of a request", "", 0) == 0;
    s->id = 0;
    respond(c, id);
    return 1;
  }
  if (type == HEADERS) {
    c->open_head_ends = (uint8_t)(flags & END_STREAM);
    c->open_head_id = id;
  }
  if (flags & END_HEADERS && c->open_head_ends && c->open_head_id == id) respond(c, id);
  return 1;
}

static void settings_frame(struct conn *c, int flags, const unsigned char *payload, size_t length) {
  if (flags & ACK) return;
  for (size_t at = 0; at + 6 <= length; at += 6) {
    uint32_t value = read32(payload + at + 2);
    if (payload[at + 1] == HEADER_TABLE_SIZE && value < 4096) {
      errno = 0;
      die(3, "the proxy allows no dynamic table of 4,096 bytes, which the canned blocks need");
    }
  }
  queue_frame_head(c, 0, SETTINGS, ACK, 0);
}

static int frame(struct conn *c, int type, int flags, uint32_t id, const char *payload, size_t length) {
  if (type == DATA && (c->ungranted += length) > granted_bytes / 2) {
    queue_grant(c, (uint32_t)c->ungranted);
    c->ungranted = 0;
  }
  switch (type) {
    case DATA:
    case HEADERS:
    case CONTINUATION:
      if (c->role == ROLE_CLIENT) return client_frame(c, type, flags, id, payload, length);
      return backend_frame(c, type, flags, id, length);
    case SETTINGS:
      settings_frame(c, flags, (const void *)payload, length);
      return 1;
    case PING:
      if (flags & ACK) return 1;
      queue_frame_head(c, length, PING, ACK, 0);
      queue(c, payload, length);
      return 1;
    case RST_STREAM:
      /* A proxy may reset what it has finished with; a stream of ours that is still open is a failure. */
      return c->role == ROLE_BACKEND || stream_of(c, id)->id != id;
    case GOAWAY:
      return c->role == ROLE_BACKEND;
    default:
      return 1;
  }
}

size_t http2_feed(struct conn *c, const char *data, size_t length) {
  uint32_t generation = c->generation;
  size_t at = 0;
  if (c->role == ROLE_BACKEND && !c->has_preface) {
    if (length < sizeof preface - 1) return 0;
    if (memcmp(data, preface, sizeof preface - 1) != 0) return wrong("no preface", data, length);
    at = sizeof preface - 1;
    c->has_preface = 1;
    http2_open(c);
  }
  while (length - at >= 9) {
    const unsigned char *head = (const unsigned char *)data + at;
    size_t payload = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    if (payload > 16384) return wrong("a frame too large", data + at, 9);
    if (length - at < 9 + payload) break;
    if (!frame(c, head[3], head[4], read32(head + 5) & 0x7fffffff, data + at + 9, payload)) return SIZE_MAX;
    at += 9 + payload;
    if (c->generation != generation) return at;
  }
  return at;
}
