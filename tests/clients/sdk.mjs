// Drives the official TypeScript SDK the way an app does and prints, one JSON object a line, what the SDK saw.
//
// Usage: node sdk.mjs SDK_FOLDER BASE_URL KEY
// The same calls as sdk.py, under the same names; see there.

import { File } from 'node:buffer'; // not a global before Node 20
import { createRequire } from 'node:module';
import path from 'node:path';

const [folder, baseURL, key] = process.argv.slice(2);
const sdk = createRequire(path.join(folder, 'package.json'))('@anthropic-ai/sdk');
const Anthropic = sdk.default ?? sdk.Anthropic;

const model = 'claude-opus-5';
const hello = [{ role: 'user', content: 'Say hello.' }];
const weather = [{ name: 'get_weather', description: 'Weather', input_schema: { type: 'object', properties: {} } }];
const client = new Anthropic({ baseURL, apiKey: key, maxRetries: 2 });

/** Request options that name the call and tell the simulator how to answer it. */
function options(call, steering = {}) {
  const headers = { 'x-claude-code-session-id': call };
  const wanted = Object.entries(steering).map(([name, value]) => `${name}=${value}`);
  if (wanted.length > 0) headers['x-simulate'] = wanted.join('; ');
  return { headers };
}

function report(call, seen = {}) {
  console.log(JSON.stringify({ call, ...seen }));
}

function figures(message) {
  const isTool = (block) => ['tool_use', 'server_tool_use', 'mcp_tool_use'].includes(block.type);
  return {
    id: message.id,
    model: message.model,
    stop_reason: message.stop_reason,
    usage: message.usage,
    tools: message.content.filter(isTool).map((block) => block.name),
  };
}

async function messages() {
  const plain = await client.messages.create({ model, max_tokens: 64, messages: hello }, options('plain'));
  report('plain', { ...figures(plain), request_id: plain._request_id });
  const tools = await client.messages.create(
    { model, max_tokens: 64, messages: hello, tools: weather }, options('tools', { shape: 'tools' }));
  report('tools', figures(tools));
}

async function streams() {
  const calls = {
    streaming: {},
    'streaming-thinking': { shape: 'thinking' },
    'streaming-cache': { cache_read: 5000, cache_write_5m: 300, cache_write_1h: 70 },
    'streaming-web_search': { shape: 'web_search' },
    'streaming-tools': { shape: 'tools' },
    'encoding-gzip': { encoding: 'gzip' },
    'encoding-deflate': { encoding: 'deflate' },
  };
  for (const [call, steering] of Object.entries(calls)) {
    const stream = client.messages.stream(
      { model, max_tokens: 64, messages: hello, tools: weather }, options(call, steering));
    report(call, figures(await stream.finalMessage()));
  }
}

async function others() {
  const counted = await client.messages.countTokens({ model, messages: hello }, options('count-tokens'));
  report('count-tokens', { input_tokens: counted.input_tokens });
  const models = [];
  for await (const each of client.models.list({}, options('models'))) models.push(each.id);
  report('models', { models });
}

async function batches() {
  const requests = [0, 1, 2].map((n) => ({ custom_id: `item-${n}`, params: { model, max_tokens: 16, messages: hello } }));
  const created = await client.messages.batches.create({ requests }, options('batch-create'));
  report('batch-create', { id: created.id });
  const batch = await client.messages.batches.retrieve(created.id, undefined, options('batch-get')).catch(
    () => client.messages.batches.retrieve(created.id, options('batch-get')));
  report('batch-get', { status: batch.processing_status, results_url: batch.results_url });
  for (const call of ['batch-results', 'batch-results-again']) {
    const usages = [];
    for await (const line of await client.messages.batches.results(created.id, {}, options(call))) {
      if (line.result.type === 'succeeded') usages.push(line.result.message.usage);
    }
    report(call, { usages });
  }
}

async function files() {
  const content = new Uint8Array(128 * 1024).map((_, index) => index % 256);
  const api = client.files ?? client.beta.files;
  const file = new File([content], 'data.bin', { type: 'application/octet-stream' });
  const uploaded = await api.upload({ file }, options('file-upload'));
  report('file-upload', { id: uploaded.id, size: uploaded.size_bytes });
  const response = await api.download(uploaded.id, {}, options('file-download'));
  const bytes = new Uint8Array(await response.arrayBuffer());
  report('file-download', { same: Buffer.compare(bytes, content) === 0 });
}

async function errors() {
  const expected = {
    400: sdk.BadRequestError, 401: sdk.AuthenticationError, 403: sdk.PermissionDeniedError, 404: sdk.NotFoundError,
    429: sdk.RateLimitError, 500: sdk.InternalServerError, 529: sdk.InternalServerError,
  };
  for (const [status, type] of Object.entries(expected)) {
    const call = `error-${status}`;
    try {
      await client.messages.create(
        { model, max_tokens: 8, messages: hello }, { ...options(call, { status }), maxRetries: 0 });
    } catch (error) {
      report(call, { status: error.status, right_type: error instanceof type, error_type: error.error?.error?.type });
    }
  }
}

async function broken() {
  const calls = { 'stream-error': { error_after_events: 4 }, 'stream-cut': { cut_after_events: 4, cut: 'close' } };
  for (const [call, steering] of Object.entries(calls)) {
    try {
      await client.messages.stream({ model, max_tokens: 64, messages: hello }, options(call, steering)).finalMessage();
    } catch (error) {
      report(call, { type: error.constructor.name });
    }
  }
  const stream = await client.messages.create(
    { model, max_tokens: 64, messages: hello, stream: true }, options('cancelled', { chunk_delay_ms: 20, events: 500 }));
  for await (const event of stream) {
    if (event.type === 'content_block_delta') break;
  }
  report('cancelled');
}

async function retries() {
  const message = await client.messages.create(
    { model, max_tokens: 16, messages: hello }, options('retried', { status: 529, until_retry: 1 }));
  report('retried', figures(message));
}

async function concurrent() {
  const each = async (n) => {
    const call = `concurrent-${n}`;
    report(call, figures(await client.messages.create({ model, max_tokens: 16, messages: hello }, options(call))));
  };
  await Promise.all(Array.from({ length: 16 }, (_, n) => each(n)));
}

for (const scenario of [messages, streams, others, batches, files, errors, broken, retries, concurrent]) await scenario();
