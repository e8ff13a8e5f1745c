// What a project may write with the types of the npm package, and what it may not. Compiled, never run.

import { Channel, Socket } from "phoenix";
import { LiveSocket } from "phoenix_live_view";
import { type Bundle, type ChannelLike, isStatus, ListSession, MemberListClient, type PushLike } from "headcount";
import { type Row, type Status, VirtualList, watchChannel, WindowKeeper } from "headcount";
import { MemberListHook, memberListHook } from "headcount/live-view";
import { useMemberList } from "headcount/react";

interface Profile {
  nick: string;
}

export function title(row: Row<Profile>): string {
  if (row.id === undefined) return `${row.group} ${row.count}`;
  return row.body?.nick ?? row.id;
}

export function status(text: string): Status {
  return isStatus(text) ? text : "offline";
}

export function Names(socket: Socket, channel: Channel): string[] {
  const list = useMemberList<Profile>(socket, { topic: "room:7", params: { status: "idle" } });
  useMemberList(channel);
  useMemberList(null);
  // @ts-expect-error a snapshot is not to be changed
  list.status = "open";
  // @ts-expect-error no such option
  useMemberList(socket, { height: 40 });
  // @ts-expect-error neither a socket nor a channel
  useMemberList("room:7");
  list.search({ search: "a", group: "online", page: 1 });
  list.search(null);
  // @ts-expect-error a search has a text
  list.search({ page: 1 });
  const found: number = list.found?.matches ?? 0;
  return found > 0 ? list.found!.rows.map(title) : list.rows.map(({ row }) => (row === null ? "…" : title(row)));
}

const draw = (element: HTMLElement, { row }: { row: Row | null }): void => {
  element.textContent = row?.id ?? "";
};
export const live = new LiveSocket("/live", Socket, {
  hooks: { MemberList: MemberListHook, Own: memberListHook({ draw }) },
});

export function keep(bundle: Bundle<Profile>): WindowKeeper<Profile> {
  const client = new MemberListClient<Profile>();
  const asked: string[][] = client.apply(bundle);
  const frame = bundle.frames[0];
  if (frame?.kind === "delta") frame.deletes.push(asked.length);
  // @ts-expect-error rows are those of a SYNC
  if (frame?.kind === "delta") frame.rows.pop();
  const list = new VirtualList<Profile>({ drawNow: () => {} });
  const keeper = new WindowKeeper({ client, request: async () => bundle, changed: () => list.changed() });
  list.show(keeper);
  // @ts-expect-error a status that there is not
  const away: Status = "away";
  return away ? keeper : keeper;
}

/** A channel that is complete by its type. */
export class Wire implements ChannelLike {
  readonly state = "joined";
  on(_event: string, _callback: (payload?: any, ref?: any, joinRef?: any) => void): number {
    return 0;
  }
  off(_event: string, _ref?: number): void {}
  push(_event: string, _payload: object): PushLike {
    return { receive: () => this.push("", {}) };
  }
  join(): PushLike {
    return this.push("", {});
  }
  leave(): PushLike {
    return this.push("", {});
  }
}
export const stop = watchChannel(new Wire(), { joined() {}, bundle() {}, refused() {}, lost() {} });
const view = new VirtualList({ drawNow() {} });
new ListSession({ request: async () => ({}), view, changed() {}, viewer: new Wire() });
