/* HTTP/1.1, both roles. Reads no more of a head than its end, its status and its Content-Length. */
#include "load.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The Content-Length of a head, -1 when it has none. */
static int64_t content_length(const char *head, size_t length) {
  static const char name[] = "\ncontent-length:";
  size_t name_length = sizeof name - 1;
  for (const char *at = head, *end = head + length; (at = memchr(at, '\n', (size_t)(end - at))); at++)
    if ((size_t)(end - at) > name_length && !strncasecmp(at, name, name_length)) return atoll(at + name_length);
  return -1;
}

static void queue_message(struct conn *c, struct records *records, int which, uint64_t body_bytes) {
  queue(c, records->bytes[which], records->lengths[which]);
  c->position_out = 0;
  if (body_bytes <= SMALL_BODY_BYTES_MAX) queue_pattern(c, body_bytes);
  else c->body_out = body_bytes;
}

void http1_start(struct conn *c, uint64_t slot) {
  c->h1.slot = slot;
  queue_message(c, &requests, next_request(c), request_body_bytes);
}

static void message_done(struct conn *c) {
  if (c->role == ROLE_CLIENT) client_done(c, c->h1.slot);
  else queue_message(c, &responses, next_response(c), response_body_bytes);
}

/* Judges a head; answers 0 when it is not what was expected. */
static int head_done(struct conn *c, const char *head, size_t length) {
  uint64_t expected = c->role == ROLE_CLIENT ? response_body_bytes : request_body_bytes;
  if (c->role == ROLE_CLIENT) {
    if (c->in_flight == 0) return wrong("a response nobody asked for", head, length) == 0;
    if (length < 16 || memcmp(head, "HTTP/1.1 200", 12) != 0) return wrong("not a 200", head, length) == 0;
  }
  if (c->role == ROLE_CLIENT || expected > 0) {
    if (content_length(head, length) != (int64_t)expected) return wrong("another length", head, length) == 0;
  }
  c->body_in = expected;
  c->position_in = 0;
  return 1;
}

size_t http1_feed(struct conn *c, const char *data, size_t length) {
  uint32_t generation = c->generation;
  size_t at = 0;
  while (at < length) {
    if (c->body_in == 0) {
      const char *end = memmem(data + at, length - at, "\r\n\r\n", 4);
      if (!end) return at;
      size_t head_length = (size_t)(end + 4 - (data + at));
      if (!head_done(c, data + at, head_length)) return SIZE_MAX;
      at += head_length;
    } else {
      size_t part = length - at < c->body_in ? length - at : (size_t)c->body_in;
      check_body(c, c->position_in, data + at, part);
      c->position_in += part;
      c->body_in -= part;
      at += part;
    }
    if (c->body_in == 0) message_done(c);
    if (c->generation != generation) return at;
  }
  return at;
}
