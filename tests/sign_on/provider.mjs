// A real OpenID Connect provider for the tests: the certified `oidc-provider`, with accounts that the test gives it.
//
// Usage: node provider.mjs SETTINGS, where SETTINGS is JSON: { package, redirectUri, accounts: { login: claims }, claimsInToken }.
// Prints its issuer, and ends with its standard input. `POST /control` changes it while it runs: { rotate: true } signs with a new key from
// then on, { accounts: {..} } changes what it says about people, { away: true } answers everything with 503.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(settings.package + '/'));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const accounts = new Map(Object.entries(settings.accounts));
let away = false;
let handler;

function keys() {
  const make = (type, options, alg) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() };
  };
  return [
    make('rsa', { modulusLength: 2048 }, 'RS256'),
    make('rsa', { modulusLength: 2048 }, 'PS256'),
    make('ec', { namedCurve: 'P-256' }, 'ES256'),
    make('ed25519', {}, 'EdDSA'),
  ];
}

function client(id, more) {
  return { client_id: id, redirect_uris: [settings.redirectUri], grant_types: ['authorization_code'], response_types: ['code'], ...more };
}

const secret = 'a/secret+with:signs%20that=need&encoding';
const clients = [
  client('basic', { client_secret: secret }),
  client('post', { client_secret: secret, token_endpoint_auth_method: 'client_secret_post', id_token_signed_response_alg: 'ES256' }),
  client('public', { token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'EdDSA' }),
  client('pss', { client_secret: secret, id_token_signed_response_alg: 'PS256' }),
];

function start(issuer) {
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: keys() },
    cookies: { keys: ['cookies of the tests'] },
    pkce: { required: () => true },
    claims: {
      openid: ['sub', 'amr'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    conformIdTokenClaims: !settings.claimsInToken,
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => accounts.has(id) && { accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) },
    // Nobody is asked whether MindWeave may know who they are.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
  });
  provider.on('server_error', (_, error) => console.error(error));
  const serve = provider.callback();
  return async (request, response) => {
    const interaction = /^\/interaction\/([^/?]+)$/.exec(request.url);
    if (!interaction) return serve(request, response);
    if (request.method === 'GET') {
      response.setHeader('content-type', 'text/html');
      return response.end(`<form method="post" action="${request.url}"><input name="login"><input name="password" type="password"></form>`);
    }
    const form = new URLSearchParams(await text(request));
    const login = form.get('login');
    const result = accounts.has(login) && form.get('password') === `password of ${login}`
      ? { login: { accountId: login } }
      : { error: 'access_denied', error_description: 'wrong password' };
    return provider.interactionFinished(request, response, result);
  };
}

async function text(request) {
  let all = '';
  for await (const piece of request) all += piece;
  return all;
}

const server = createServer(async (request, response) => {
  if (request.url === '/control') {
    const change = JSON.parse(await text(request));
    if (change.rotate) handler = start(issuer);
    for (const [login, claims] of Object.entries(change.accounts ?? {})) accounts.set(login, claims);
    if ('away' in change) away = change.away;
    return response.end('{}');
  }
  if (away) {
    response.statusCode = 503;
    return response.end('{}');
  }
  return handler(request, response);
});

let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  handler = start(issuer);
  console.log(issuer);
});
process.stdin.on('end', () => process.exit(0)).resume();
