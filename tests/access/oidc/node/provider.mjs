// An OpenID Connect provider on loopback. Arguments: the port (0: any free one) and the settings as JSON:
// {"clients": [...], "keys": [JWK, ...], "accounts": {"login": {claims}}, "methods": [...], "issued": FILE}
// Each answer of the token endpoint becomes a line of the file `issued`.
// Prints its issuer once it listens. Anyone may sign in as any account: the page asks for a login only.
import fs from 'node:fs'
import http from 'node:http'
import Provider from 'oidc-provider'

const [port, text] = process.argv.slice(2)
const settings = JSON.parse(text)

const server = http.createServer()
server.listen(Number(port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    clients: settings.clients,
    jwks: { keys: settings.keys },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
    conformIdTokenClaims: true,
    ttl: { IdToken: 60, AccessToken: 60, AuthorizationCode: 60, Interaction: 600, Session: 600, Grant: 600 },
    ...(settings.methods ? { clientAuthMethods: settings.methods } : {}),
    pkce: { required: () => true },
    cookies: { keys: ['for tests only'] },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, ...settings.accounts[id] }),
    }),
  })
  if (settings.issued) {
    provider.on('grant.success', context => fs.appendFileSync(settings.issued, `${JSON.stringify(context.body)}\n`))
  }
  server.on('request', provider.callback())
  console.log(issuer)
})
