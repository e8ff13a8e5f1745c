// Types of the hook of Phoenix LiveView.

import type { PlacedGroup, RosterBody, Row } from "./index.mjs";

/** A row to draw into an element: of the list, or of what `data-search` finds. */
export interface HookRow<Body = RosterBody> {
  row: Row<Body> | null;
  group: PlacedGroup | null;
  index: number;
  /** The rows of the list or of the search; -1 in a search of all groups. */
  total: number;
  isActive: boolean;
}

/** A hook object for the option `hooks` of LiveSocket. */
export interface MemberListHookObject {
  mounted(this: any): void;
  updated(this: any): void;
  disconnected(this: any): void;
  reconnected(this: any): void;
  destroyed(this: any): void;
}

export function memberListHook<Body = RosterBody>(options?: {
  draw?(element: HTMLElement, row: HookRow<Body>): void;
}): MemberListHookObject;

export const MemberListHook: MemberListHookObject;

export function drawRow(element: HTMLElement, row: HookRow<any>): void;
