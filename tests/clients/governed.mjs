// Makes calls with the official TypeScript SDK that MindWeave may refuse and prints, one JSON object a line, what came of each.
//
// Usage: node governed.mjs SDK_FOLDER BASE_URL KEY CALL...
// The same as governed.py; see there.

import { createRequire } from 'node:module';
import path from 'node:path';

const [folder, baseURL, key, ...calls] = process.argv.slice(2);
const sdk = createRequire(path.join(folder, 'package.json'))('@anthropic-ai/sdk');
const Anthropic = sdk.default ?? sdk.Anthropic;
const client = new Anthropic({ baseURL, apiKey: key, maxRetries: 2 });

for (const wanted of calls) {
  const [call, how] = wanted.split(':');
  const message = { model: 'claude-opus-5', max_tokens: 64, messages: [{ role: 'user', content: 'Say hello.' }] };
  const options = { headers: { 'x-claude-code-session-id': call } };
  let seen = { call, error: null };
  const started = performance.now();
  try {
    if (how === 'stream') await client.messages.stream(message, options).finalMessage();
    else await client.messages.create(message, options);
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    const detail = error.error.error;
    seen = {
      ...seen,
      error: error.constructor.name,
      status: error.status,
      type: detail.type,
      message: detail.message,
      reason: error.headers.get?.('mindweave-reason') ?? error.headers['mindweave-reason'],
    };
  }
  console.log(JSON.stringify({ ...seen, seconds: (performance.now() - started) / 1000 }));
}
