// Types of the package's main entry.

/** What a roster says of a user; sessions state the first four. */
export type Status = "online" | "idle" | "dnd" | "invisible" | "offline";
export const STATUSES: readonly Status[];
export function isStatus(value: unknown): value is Status;
/** Returns the status that others see: `offline` for `invisible`. */
export function outward(status: Status): Exclude<Status, "invisible">;

/** The body of a row that a server renders from a roster. Servers may add fields. */
export interface RosterBody {
  name?: string;
  username?: string;
  status?: Status;
  /** An ISO 8601 time. */
  last_seen_at?: string;
}

/** A group's header. */
export interface HeaderRow {
  group: string;
  count: number;
  id?: undefined;
}

/** A member. `attrs` are bits, absent when there are none. */
export interface MemberRow<Body = RosterBody> {
  id: string;
  revision: number;
  attrs?: number;
  body?: Body;
  group?: undefined;
}

export type Row<Body = RosterBody> = HeaderRow | MemberRow<Body>;

export interface GroupCount {
  group: string;
  count: number;
  hidden?: boolean;
  collapsed?: boolean;
}

/** Totals of a list, and its groups in order. */
export interface Counts {
  version: number;
  rows: number;
  members: number;
  headers?: boolean;
  groups: GroupCount[];
}

/** Counts since `base_version`, of lists with many groups. */
export interface CountsDelta {
  version: number;
  base_version: number;
  rows: number;
  members: number;
  changed: { group: string; count: number }[];
}

interface FrameHead {
  window: string;
  base_version: number;
  new_version: number;
  base_index: number;
  checksum32: number;
  renamed?: string;
  matches?: number;
}

export interface SyncFrame<Body = RosterBody> extends FrameHead {
  kind: "sync";
  rows: Row<Body>[];
}

/** What a changed row has instead of what it had: a header's count, or a member's revision and the rest. */
export interface RowChange<Body = RosterBody> {
  index: number;
  count?: number;
  revision?: number;
  attrs?: number;
  body?: Body;
  patch?: Partial<{ [Field in keyof Body]: Body[Field] | null }>;
}

export interface Steps<Body = RosterBody> {
  deletes: number[];
  inserts: ({ index: number; row: Row<Body> } | (RowChange<Body> & { move: string; row?: undefined }))[];
  updates: RowChange<Body>[];
}

export interface DeltaFrame<Body = RosterBody> extends FrameHead, Steps<Body> {
  kind: "delta";
}

export type Frame<Body = RosterBody> = SyncFrame<Body> | DeltaFrame<Body>;

export interface Bundle<Body = RosterBody> {
  list: string;
  /** 2 in frame format 2. */
  format?: number;
  /** A number in format 1. */
  epoch: number | Epoch;
  version: number;
  frames: Frame<Body>[];
  counts?: Counts | CountsDelta | null;
  bases?: { window: string; base_index: number }[];
  /** Names in format 1. */
  windows?: (string | { window: string; version: number })[];
}

/** A span of time of one node in which the versions of a list are comparable. */
export interface Epoch {
  node: string;
  number: number;
}

/** A window as a client held it when its connection ended. */
export interface HeldWindow {
  window: string;
  epoch: Epoch;
  version: number;
}

/** A request to the server of a list, as `window`, `windows` and `from`, or `held` name what it is about. */
export type Verb =
  | "member_list_open"
  | "member_list_move"
  | "member_list_close"
  | "member_list_resync"
  | "member_list_resume"
  | "member_list_search"
  | "member_list_find";

/** Reaches the server. Resolves to the answer: a bundle, `{matches}` of a find, anything for a close. */
export type Request = (verb: Verb, payload: Record<string, unknown>) => Promise<any>;

/** The window of a client. */
export interface Window<Body = RosterBody> {
  rows: Row<Body>[];
  version: number;
  baseIndex: number;
  /** The members that match on all pages, in the window of a search. */
  matches: number | null;
  waiting: boolean;
}

/** The rows `[start, end)` of a list, by absolute index. */
export interface View<Body = RosterBody> {
  name: string;
  start: number;
  end: number;
  at(index: number): Row<Body>;
}

/** Holds the windows of one list as its server describes them. Without I/O or timers. */
export class MemberListClient<Body = RosterBody> {
  /** Totals and the full group table, or null before the first bundle. */
  get counts(): Counts | null;
  /** The frame format of the last bundle, or null before the first one. Windows of format 2 can be resumed. */
  get format(): 1 | 2 | null;
  /** The names of the windows held. */
  get names(): string[];
  /** `request` is the number of a search whose answer told this name, and is passed to `apply` next. */
  open(name: string, request?: number | null): void;
  /** Notes a window in place of `from`, whose rows stay until those of `name` arrive. */
  move(from: string, name: string): void;
  close(name: string): void;
  /** Notes any request; returns its number, to be passed to `apply` with the answer. */
  request(): number;
  /** Notes a switch to another list, with these windows there; only the answer to the request enters it. */
  switch(names: Iterable<string>): number;
  /** Notes that a connection begins; returns its first request, and the windows to resume by it. */
  reconnect(): { request: number; held: HeldWindow[] };
  /** Whether the answer that takes the client to its list has not come yet. */
  get isEntering(): boolean;
  /** Notes a request before it is sent. */
  expect(verb: string, payload: { from?: string; window?: string; windows?: string[] }): void;
  window(name: string): Window<Body> | null;
  /** The filled windows but those of searches. */
  views(): View<Body>[];
  /** Applies a bundle; returns the `resync` requests to send, one array of window names each. */
  apply(bundle: unknown, request?: number | null): string[][];
}

/** The error for a bundle that is not of the shape of the protocol. `path` names the value: `frames[0].rows[2]`. */
export class MalformedBundleError extends Error {
  constructor(path: string, what: string);
  name: "MalformedBundleError";
  path: string;
}

/** Returns the rows after a DELTA, without changing `rows`; null if the steps do not fit them. */
export function applyDelta<Body = RosterBody>(rows: Row<Body>[], steps: Steps<Body>): Row<Body>[] | null;
/** Returns the checksum of the rows of a window. */
export function checksum(rows: Row<any>[]): number;
/** Returns the CRC-32 (IEEE) of the UTF-8 form of a text. */
export function crc32(text: string): number;

/** A member found by name. */
export interface Match {
  group: string;
  index: number;
  id: string;
}

/** A search of the members whose names begin with `search`, in one group or all; `page` counts from 0. */
export interface SearchRequest {
  search: string;
  group?: string;
  page?: number;
}

/** What a search finds, live. */
export interface Found<Body = RosterBody> extends SearchRequest {
  /** The page, at most `SEARCH_ROWS` rows; in a search of all groups the header of each comes first. */
  rows: Row<Body>[];
  /** The members that match, on all pages; null if the search was refused. */
  matches: number | null;
  /** The index of the first row among all that are found. */
  first: number;
  /** Why the server refused the search. */
  error: Error | null;
}

/** Rows of a page of a search. */
export const SEARCH_ROWS: number;

/** Rows of a chunk window. */
export const CHUNK: number;

/** Holds the windows of a list that the visible rows need. */
export class WindowKeeper<Body = RosterBody> {
  constructor(options: {
    client: MemberListClient<Body>;
    request: Request;
    changed(): void;
    failed?(error: Error): void;
    /** The keeper of the former connection, whose search goes on. */
    former?: WindowKeeper<Body> | null;
  });
  get counts(): Counts | null;
  /** What the search finds; null without one, and until the first answer. */
  get found(): Found<Body> | null;
  /** The names of the windows that are held or were requested. */
  get names(): string[];
  /** Whether a search waits for its answer, which names its window. */
  get isSearching(): boolean;
  row(index: number): Row<Body> | null;
  holds(first: number, end: number): boolean;
  /** Opens, moves and closes windows for the visible rows `[first, end)`. */
  want(first: number, end: number): void;
  find(prefix: string): Promise<Match[]>;
  /** Searches in place of the former search; `null` ends it. */
  search(wanted: SearchRequest | null): void;
  reach(key: string): Promise<void>;
  indexOf(key: string): number | null;
  /** Resumes the windows over a connection that just began. Resolves to false if the server refuses it. */
  reconnect(): Promise<boolean>;
  /** Applies a bundle that the server pushed, or the answer to a request of the client. */
  push(bundle: unknown, request?: number | null): void;
  pause(): void;
  resume(): void;
  /** Ends all requests and changes. */
  close(): void;
  /** Ends them and closes all windows. */
  leave(): void;
}

/** Resumes the windows of a list whenever it is joined again, or opens them. */
export class ListSession<Body = RosterBody> {
  constructor(options: {
    request: Request;
    view: Pick<VirtualList<Body>, "rows" | "show" | "reconnected">;
    changed(): void;
    failed?(error: Error): void;
    /** The same object for all lists whose requests reach one viewer of the server, such as their channel. */
    viewer?: object;
  });
  get counts(): Counts | null;
  get found(): Found<Body> | null;
  joined(): void;
  push(bundle: unknown): void;
  find(prefix: string): Promise<Match[]>;
  /** Searches in place of the former search, over all connections; `null` ends it. */
  search(wanted: SearchRequest | null): void;
  pause(): void;
  resume(): void;
  close(): void;
  leave(): void;
}

/** Pauses a session while the document is hidden. Returns a function that ends this. */
export function pauseWhileHidden(session: { pause(): void; resume(): void }, document?: Document): () => void;

/** A group with rows, and the index of its first row. */
export interface PlacedGroup {
  group: string;
  name: string;
  count: number;
  first: number;
  rows: number;
}

/** A row to draw: `row` is null until it arrives, `top` is its place in the tall element in pixels. */
export interface DrawnRow<Body = RosterBody> {
  index: number;
  top: number;
  row: Row<Body> | null;
  group: PlacedGroup | null;
}

/** The header to draw at the top of the view; the next one pushes it out by `top` (0 or less) pixels. */
export type StickyHeader = PlacedGroup & { top: number };

export interface Drawing<Body = RosterBody> {
  rows: DrawnRow<Body>[];
  from: number;
  to: number;
  total: number;
  rowHeight: number;
  header: StickyHeader | null;
}

/** A list of any length around its reader's place. */
export class VirtualList<Body = RosterBody> {
  constructor(options: {
    drawNow(): void;
    drawSoon?(): void;
    jumped?(): void;
    rowHeight?: number;
    overscan?: number;
  });
  rowHeight: number;
  overscan: number;
  groups: PlacedGroup[];
  active: number | null;
  get rows(): number;
  get height(): number;
  get position(): { first: number; rows: number; percent: number };
  get activeGroup(): string | null;
  attach(elements: { scroll: HTMLElement; sizer?: HTMLElement | null }): void;
  detach(): void;
  show(keeper: WindowKeeper<Body> | null): void;
  reconnected(keeper: WindowKeeper<Body>): void;
  changed(): void;
  close(): void;
  read(): Drawing<Body>;
  goTo(index: number): void;
  seek(key: string, index?: number | null): Promise<void>;
  activate(index?: number): void;
  press(key: string): boolean;
}

/** One recycled element of a page. */
export interface PoolRow<Body = RosterBody> {
  element: HTMLElement;
  show(row: DrawnRow<Body> & { total: number }): void;
  hide(): void;
}

/** Draws a VirtualList into recycled elements. */
export class RowPool<Body = RosterBody> {
  constructor(container: HTMLElement, create: (number: number) => PoolRow<Body>);
  draw(drawing: Drawing<Body>): void;
}

export const HEIGHT_MAX_PX: number;

/** Scroll arithmetic of a list that may be taller than a browser can lay out. */
export class ScrollMap {
  constructor(rowHeight: number, heightMax?: number);
  rowHeight: number;
  heightMax: number;
  rows: number;
  viewHeight: number;
  offset: number;
  scrollTop: number;
  get height(): number;
  get offsetMax(): number;
  get scrollMax(): number;
  get visible(): [first: number, end: number];
  get isStuck(): boolean;
  resize(rows: number, viewHeight: number): void;
  scrolled(scrollTop: number): boolean;
  shift(rows: number): void;
  goTo(row: number): number;
  reveal(row: number, top?: number): number;
  settle(): number;
  layoutTop(row: number): number;
}

export function layOut(counts: Counts | null): PlacedGroup[];
export function groupAt(placed: PlacedGroup[], index: number): PlacedGroup | null;
export function groupTitle(group: string): string;
/** Returns the key by which a row is recognised after it moved: `m:<id>` or `g:<group>`. */
export function rowKey(row: { id: string } | { id?: undefined; group: string }): string;
export function isHeaderKey(key: string | undefined): boolean;
export function commonShift(before: Map<string, number>, after: Map<string, number>): number;
export function shiftActive(
  active: number,
  before: Map<string, number>,
  after: Map<string, number>,
  shift: number,
): number;

/** What is used of a Push of the npm package `phoenix`. */
export interface PushLike {
  receive(status: string, callback: (reply?: any) => any): PushLike;
}

/** What is used of a Channel of the npm package `phoenix`. */
export interface ChannelLike {
  /** `joined` while it is joined. */
  readonly state: string;
  /** Calls back with the answers to joins as well: event `phx_reply`, with `ref` equal to `joinRef`. */
  on(event: string, callback: (payload?: any, ref?: any, joinRef?: any) => void): number;
  off(event: string, ref?: number): void;
  push(event: string, payload: object): PushLike;
  join(): PushLike;
  leave(): PushLike;
  /** The push of the joins. Without it, a join that is not answered is not told as refused. */
  readonly joinPush?: PushLike;
}

/** What is used of a Socket of the npm package `phoenix`. */
export interface SocketLike {
  channel(topic: string, params?: any): ChannelLike;
}

/** The error for a request that was refused or not answered. `retryAfterMs` is null unless it was only too early. */
export class RequestError extends Error {
  constructor(reason: string, retryAfterMs?: number | null);
  name: "RequestError";
  reason: string;
  retryAfterMs: number | null;
}

/** Pushes on a channel. The promise resolves to the answer, and rejects with a `RequestError`. */
export function request(channel: ChannelLike, verb: string, payload: object): Promise<any>;

/** Calls back when a channel is joined, fails, or brings a bundle. Returns a function that ends this. */
export function watchChannel(
  channel: ChannelLike,
  watcher: {
    joined(): void;
    bundle(bundle: unknown): void;
    refused(error: RequestError): void;
    lost(): void;
  },
): () => void;

/** What a ListStore shows at one moment. */
export interface ShownMemberList<Body = RosterBody> {
  /** `idle` without a source, `connecting` before the first join, `reconnecting` while the channel is down. */
  readonly status: "idle" | "connecting" | "open" | "reconnecting";
  /** The last refusal, or a `MalformedBundleError`; null again after the next bundle. */
  readonly error: Error | null;
  readonly counts: Counts | null;
  /** What the search finds; null without one, and until the first answer. */
  readonly found: Found<Body> | null;
  readonly groups: PlacedGroup[];
  /** The rows to draw. */
  readonly rows: DrawnRow<Body>[];
  /** The length of the list. */
  readonly total: number;
  /** The height of the tall element in pixels. */
  readonly height: number;
  readonly rowHeight: number;
  readonly header: StickyHeader | null;
  /** The index of the active row, or null. */
  readonly active: number | null;
  /** The `ref` of the element that scrolls. */
  readonly scrollRef: (element: HTMLElement | null) => void;
  /** The `ref` of the tall element inside it, `position: relative`; the hook sets its height. */
  readonly sizerRef: (element: HTMLElement | null) => void;
  goTo(index: number): void;
  seek(key: string, index?: number | null): Promise<void>;
  find(prefix: string): Promise<Match[]>;
  /** Searches in place of the former search, also in the lists that are shown later; `null` ends it. */
  search(wanted: SearchRequest | null): void;
  activate(index?: number): void;
  /** Moves the active row by a key. Returns whether it was `ArrowDown`, `PageUp`, `Home`, or the like. */
  press(key: string): boolean;
}

/** A member list as a store of snapshots, for frameworks that draw by themselves. */
export class ListStore<Body = RosterBody> {
  constructor(options?: { rowHeight?: number; overscan?: number });
  subscribe: (listener: () => void) => () => void;
  snapshot: () => ShownMemberList<Body>;
  /** Shows the list of a channel, or of a topic of a socket. Returns a function that ends this. */
  connect(source: SocketLike | ChannelLike | null | undefined, topic?: string | null, params?: unknown): () => void;
}
