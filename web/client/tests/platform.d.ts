/** What the tests use of Node.js, whose types are no dependency of this workspace. */
declare module 'node:http' {
  export interface IncomingMessage {
    readonly url: string;
    readonly headers: Readonly<Record<string, string | undefined>>;
    on(event: 'data', listener: (part: unknown) => void): void;
    on(event: 'end', listener: () => void): void;
  }
  export interface ServerResponse {
    writeHead(status: number, headers?: Record<string, string>): ServerResponse;
    end(text?: string): void;
  }
  export interface Server {
    listen(port: number, host: string, ready: () => void): void;
    address(): { readonly port: number };
    closeAllConnections(): void;
    close(): void;
  }
  export const createServer: (handle: (request: IncomingMessage, response: ServerResponse) => void) => Server;
}

declare const process: { readonly env: Record<string, string | undefined> };
