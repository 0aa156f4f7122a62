/** `portcullis upgrade`: the version that stands on the disk takes over from the one that runs. */
import { request } from 'node:http';
import { loadSettings } from '../config/load.ts';
import { formatEndpoint } from '../model/endpoint.ts';
import type { AdminAddress } from '../model/settings.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import type { Shell } from './shell.ts';
import { printProblems } from './validate.ts';

/** Longer than the server waits for its successor. */
const answerMsMax = 90_000;

export async function upgradeCommand(config: string, shell: Shell): Promise<ExitCode> {
  const { settings, problems } = loadSettings(config, shell.env);
  if (settings === undefined) {
    // The new process would refuse it as well, only later.
    printProblems(problems, shell.stderr, shell.env);
    return exitCodes.configuration;
  }
  const { adminHttp } = settings.process.operate;
  if (adminHttp === null) {
    shell.error('the configuration has no [admin] http_addr, through which the server is asked to upgrade');
    return exitCodes.failed;
  }
  try {
    const { status, body } = await post(adminHttp, '/upgrade');
    if (status === 200) shell.line(body.trim());
    else shell.error(body.trim());
    return status === 200 ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    const where = adminHttp.kind === 'unix' ? `unix:${adminHttp.path}` : formatEndpoint(adminHttp);
    shell.error(`no server answers at ${where}: ${(error as Error).message}`);
    return exitCodes.unreachable;
  }
}

function post(
  address: AdminAddress,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const where =
    address.kind === 'unix'
      ? { socketPath: address.path, host: 'localhost' }
      : { host: address.host, port: address.port };
  const options = {
    ...where,
    path,
    method: 'POST',
    agent: false,
    headers: { 'x-portcullis': 'cli' },
    signal: AbortSignal.timeout(answerMsMax),
  } as const;
  return new Promise((resolve, reject) => {
    const call = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => (body += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end();
  });
}
