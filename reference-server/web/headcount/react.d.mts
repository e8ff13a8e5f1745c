// Types of the React hook.

import type { ChannelLike, RosterBody, ShownMemberList, SocketLike } from "./index.mjs";

export type { ShownMemberList };

export interface UseMemberListOptions {
  /** The topic to join, if the source is a socket. */
  topic?: string | null;
  /** The parameters of that join. */
  params?: object;
  /** The height of a row in pixels; 40 unless stated. */
  rowHeight?: number;
  /** Rows to draw above and below the view; 8 unless stated. */
  overscan?: number;
}

export function useMemberList<Body = RosterBody>(
  source: SocketLike | ChannelLike | null | undefined,
  options?: UseMemberListOptions,
): ShownMemberList<Body>;
