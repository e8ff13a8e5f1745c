defmodule Headcount.Native do
  @moduledoc false
  # Declares the functions of the NIF. Those with a twin named `*_dirty` return `:busy` when another
  # process holds the lock; the twin waits for the lock on a dirty scheduler.

  @on_load :load

  @doc false
  def load do
    path = Application.app_dir(:headcount, "priv/native/headcount_nif")
    :erlang.load_nif(String.to_charlist(path), 0)
  end

  # Those of @twins exist twice.
  @twins [
    sorted_set_add: 2,
    sorted_set_remove: 2,
    sorted_set_size: 1,
    sorted_set_at: 2,
    sorted_set_slice: 3,
    sorted_set_find_index: 2,
    tracker_track: 5,
    tracker_update: 5,
    tracker_untrack: 4,
    tracker_get_by_key: 3,
    tracker_count: 2,
    tracker_count_keys: 2,
    tracker_size: 1,
    member_list_upsert: 5,
    member_list_set_group: 3,
    member_list_set_key: 3,
    member_list_set_attrs: 3,
    member_list_set_payload: 3,
    member_list_touch: 2,
    member_list_remove: 2,
    member_list_size: 1,
    member_list_row_at: 2,
    member_list_slice: 3,
    member_list_get: 2,
    member_list_index_of: 2,
    presence_track: 5,
    presence_update: 5,
    presence_untrack: 4,
    presence_get_by_key: 3,
    presence_count: 2,
    presence_size: 1,
    snapshot_size: 1,
    snapshot_row_at: 2,
    snapshot_slice: 3,
    viewer_bundle: 2
  ]
  @single [
    sorted_set_new: 0,
    sorted_set_from_list: 2,
    sorted_set_to_list: 1,
    sorted_set_memory: 1,
    tracker_new: 3,
    tracker_untrack_owner: 2,
    tracker_list: 2,
    tracker_take_diff: 1,
    tracker_clock: 1,
    tracker_delta_since: 2,
    tracker_apply: 2,
    member_list_new: 3,
    member_list_add_group: 2,
    member_list_set_groups: 2,
    member_list_rename_group: 3,
    member_list_reorder_groups: 2,
    member_list_move_group: 3,
    member_list_set_group_hidden: 3,
    member_list_set_group_collapsed: 3,
    member_list_remove_group: 2,
    member_list_groups: 1,
    member_list_apply_batch: 2,
    member_list_bulk_load: 2,
    member_list_find_prefix: 2,
    member_list_snapshot: 1,
    member_list_memory: 1,
    snapshot_groups: 1,
    member_list_tick: 2,
    member_list_begin_epoch: 3,
    tick_info: 1,
    viewer_new: 2,
    viewer_open: 2,
    viewer_retarget: 3,
    viewer_resync: 2,
    viewer_close: 2,
    viewer_catch_up: 1,
    viewer_set_hidden: 2,
    viewer_info: 1,
    viewer_invalidate: 2,
    nats_connect: 3,
    nats_send: 3,
    presence_new: 4,
    presence_set_safe: 2,
    replica_name: 1,
    remember_nodes: 1,
    presence_attach: 1,
    presence_untrack_owners: 2,
    presence_list_short: 3,
    presence_list: 2,
    presence_count_keys: 2,
    presence_step: 5,
    presence_disconnected: 3,
    presence_leave_gracefully: 2,
    presence_changes: 1,
    presence_drop_changes: 1,
    presence_is_synced: 1,
    presence_replicas: 1
  ]

  for {name, arity} <- @single ++ @twins ++ for({n, a} <- @twins, do: {:"#{n}_dirty", a}) do
    args = Macro.generate_unique_arguments(arity, __MODULE__)
    def unquote(name)(unquote_splicing(args)), do: not_loaded(unquote(args))
  end

  defp not_loaded(_args), do: :erlang.nif_error(:nif_not_loaded)
end
