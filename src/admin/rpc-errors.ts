/**
 * What a failed call tells its caller: a Connect code, a message that names the field, and for a field at fault the
 * standard google.rpc.BadRequest detail. Faults of our own are logged with their stack and answered without it.
 */

import { Code, ConnectError } from '@connectrpc/connect';
import type { Interceptor, StreamResponse } from '@connectrpc/connect';
import type { Logger } from '../telemetry/logger.ts';
import { ControlError } from './control.ts';
import type { ControlErrorCode } from './control.ts';
import { BadRequestSchema } from './gen/google/rpc/error_details_pb.ts';

const codes: Readonly<Record<ControlErrorCode, Code>> = {
  'invalid-argument': Code.InvalidArgument,
  'not-found': Code.NotFound,
  'already-exists': Code.AlreadyExists,
  aborted: Code.Aborted,
  'failed-precondition': Code.FailedPrecondition,
  unavailable: Code.Unavailable,
  internal: Code.Internal,
};

/** Goes around every call, unary or stream. */
export function errorInterceptor(logger: Logger): Interceptor {
  return (next) => async (request) => {
    const fail = (error: unknown): ConnectError =>
      toConnectError(error, `${request.service.typeName}/${request.method.name}`, logger);
    try {
      const response = await next(request);
      return response.stream ? guarded(response, fail) : response;
    } catch (error) {
      throw fail(error);
    }
  };
}

function guarded(response: StreamResponse, fail: (error: unknown) => ConnectError): StreamResponse {
  const messages = response.message;
  async function* message(): StreamResponse['message'] {
    try {
      yield* messages;
    } catch (error) {
      throw fail(error);
    }
  }
  return { ...response, message: message() };
}

function toConnectError(error: unknown, call: string, logger: Logger): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof ControlError)) {
    logger.error('admin call failed', { call, err: error });
    return new ConnectError('internal error, see the log of the server', Code.Internal);
  }
  if (error.code === 'internal') {
    logger.error('admin call failed', { call, err: error });
    return new ConnectError('internal error, see the log of the server', Code.Internal);
  }
  const { field, message } = error;
  if (field === null) return new ConnectError(message, codes[error.code]);
  const text = message.includes(field) ? message : `${field}: ${message}`;
  const violation = { fieldViolations: [{ field, description: message }] };
  return new ConnectError(text, codes[error.code], undefined, [{ desc: BadRequestSchema, value: violation }]);
}
