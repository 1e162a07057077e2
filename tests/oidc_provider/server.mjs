// A certified OAuth server (npm oidc-provider) under Microsoft's paths, over TLS, on a free loopback port.
// Usage: node server.mjs CERT KEY ORGANIZATION CLIENT_ID SCOPE... ; prints its port; ends when stdin closes.
import fs from 'node:fs';
import https from 'node:https';
import Provider from 'oidc-provider';

const [cert, key, organization, clientId, ...scopes] = process.argv.slice(2);
let handle = (_request, response) => response.end();

const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (request, response) => {
  // The provider derives its mount path from originalUrl.
  request.originalUrl = request.url;
  request.url = request.url.slice(organization.length + 1) || '/';
  handle(request, response);
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`https://localhost:${port}/${organization}`, {
    clients: [{
      client_id: clientId,
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      response_types: [],
      redirect_uris: [],
    }],
    features: { deviceFlow: { enabled: true, mask: '*********' }, devInteractions: { enabled: true } },
    routes: { device_authorization: '/oauth2/v2.0/devicecode', token: '/oauth2/v2.0/token', code_verification: '/link' },
    scopes: ['openid', 'offline_access', ...scopes],
    claims: { openid: ['sub'], profile: ['preferred_username', 'tid'] },
    conformIdTokenClaims: false,
    rotateRefreshToken: true,
    ttl: { DeviceCode: 900, AccessToken: 3599, IdToken: 3600, Interaction: 900, Session: 86400, Grant: 86400, RefreshToken: 86400 },
    cookies: { keys: ['a test'] },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, tid: '00000000-0000-0000-0000-000000000001' }),
    }),
  });
  handle = provider.callback();
  console.log(JSON.stringify({ port }));
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
