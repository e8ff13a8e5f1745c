// A provider of OpenID Connect: every user is signed in at once, and every rule of the flow can be broken.

import { createHash, createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";

const CLIENT = { id: "headcount", secret: "s e+c/r%t" };

/** Returns a part of a token: base64url of JSON. */
export const json = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Starts a provider on a free port. Tests set `user`, and functions in `faults` that change what is answered. */
export async function startProvider() {
  const codes = new Map();
  const provider = {
    client: CLIENT,
    /** The user at the provider: `sub`, and the claims of the profile. */
    user: { sub: "ada-1", preferred_username: "ada" },
    /** True if the claims of the profile are only in the answer of userinfo. */
    hasUserinfoOnly: false,
    faults: {},
    counts: { discovery: 0, token: 0, userinfo: 0 },
    rotateKey,
    /** Returns a code for an authorization request, as the page of the provider does. */
    authorize,
    async end() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  let key;
  rotateKey();
  const server = createServer((request, response) => serve(request, response).catch((e) => response.destroy(e)));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  provider.url = `http://127.0.0.1:${server.address().port}`;
  return provider;

  function rotateKey() {
    key = { ...generateKeyPairSync("rsa", { modulusLength: 2048 }), kid: randomUUID() };
  }

  function authorize(url) {
    const query = Object.fromEntries(new URL(url).searchParams);
    const code = randomUUID();
    codes.set(code, query);
    return { code, state: query.state, redirect: query.redirect_uri };
  }

  function idToken(query) {
    const now = Math.floor(Date.now() / 1000);
    const profile = provider.hasUserinfoOnly ? { sub: provider.user.sub } : provider.user;
    const claims = { iss: provider.url, aud: CLIENT.id, iat: now, exp: now + 300, nonce: query.nonce, ...profile };
    const header = { alg: "RS256", kid: key.kid };
    const signed = `${json(header)}.${json(provider.faults.claims?.(claims) ?? claims)}`;
    const signature = createSign("RSA-SHA256").update(signed).sign(key.privateKey, "base64url");
    return provider.faults.token?.(signed, signature) ?? `${signed}.${signature}`;
  }

  async function serve(request, response) {
    const url = new URL(request.url, provider.url);
    const answer = (status, value, type = "application/json") => {
      response.writeHead(status, { "content-type": type });
      response.end(typeof value === "string" ? value : JSON.stringify(value));
    };
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        provider.counts.discovery += 1;
        if (provider.faults.discovery) return provider.faults.discovery(answer);
        return answer(200, {
          issuer: provider.url,
          authorization_endpoint: `${provider.url}/authorize`,
          token_endpoint: `${provider.url}/token`,
          userinfo_endpoint: `${provider.url}/userinfo`,
          jwks_uri: `${provider.url}/keys`,
          response_types_supported: ["code"],
          subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: ["RS256"],
        });
      case "/keys":
        return answer(200, {
          keys: [{ ...key.publicKey.export({ format: "jwk" }), kid: key.kid, use: "sig", alg: "RS256" }],
        });
      case "/authorize": {
        const { code, state, redirect } = authorize(url);
        const back = new URL(redirect);
        back.search = new URLSearchParams(provider.faults.authorize ?? { code, state });
        back.searchParams.set("state", state);
        response.writeHead(302, { location: back.href });
        return response.end();
      }
      case "/token":
        provider.counts.token += 1;
        return answer(...token(await read(request), request.headers.authorization));
      case "/userinfo":
        provider.counts.userinfo += 1;
        return answer(200, provider.faults.userinfo ?? provider.user);
      default:
        return answer(404, {});
    }
  }

  function token(body, authorization) {
    const form = new URLSearchParams(body);
    const asked = codes.get(form.get("code"));
    codes.delete(form.get("code"));
    const credentials = [CLIENT.id, CLIENT.secret].map((text) => new URLSearchParams({ "": text }).toString().slice(1));
    const basic = `Basic ${Buffer.from(credentials.join(":")).toString("base64")}`;
    const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
    if (authorization !== basic) return [401, { error: "invalid_client" }];
    if (asked?.code_challenge_method !== "S256" || asked.code_challenge !== challenge)
      return [400, { error: "invalid_grant" }];
    if (asked.redirect_uri !== form.get("redirect_uri")) return [400, { error: "invalid_grant" }];
    const answer = { access_token: randomUUID(), token_type: "Bearer", id_token: idToken(asked) };
    return [200, provider.faults.answer?.(answer) ?? answer];
  }
}

async function read(request) {
  let body = "";
  for await (const part of request) body += part;
  return body;
}
