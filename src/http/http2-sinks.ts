/** The sink of a request nobody has claimed: its observer threw, or is about to claim it. */
import type { RequestSink } from './stream.ts';

export const deafRequestSink: RequestSink = {
  onData() {},
  onTrailers() {},
  onEnd() {},
  onDrain() {},
  onReset() {},
};
