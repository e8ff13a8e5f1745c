defmodule Headcount.Presence.Metas do
  @moduledoc false
  # Metas of entries by key, each key's in the order of joining: the order of the writes of a node. Nodes have
  # no common clock, so metas of different nodes are in the order of their names in references.

  @doc false
  # `%{key => %{metas: [meta]}}` of `[{key, meta}]`.
  def group(entries) do
    entries
    |> Enum.group_by(fn {key, _meta} -> name(key) end, fn {_key, meta} -> meta end)
    |> Map.new(fn {name, metas} -> {name, %{metas: sort(metas)}} end)
  end

  @doc false
  # The key as clients see it: any other term as it prints, so that one odd key spoils no list.
  def name(key) when is_binary(key), do: if(String.valid?(key), do: key, else: inspect(key))
  def name(key) when is_atom(key) or is_number(key), do: to_string(key)

  def name(key) do
    if String.Chars.impl_for(key), do: to_string(key), else: inspect(key)
  rescue
    _no_text -> inspect(key)
  end

  @doc false
  def sort([_] = metas), do: metas
  def sort(metas), do: Enum.sort_by(metas, &place/1)

  @doc false
  # Joins metas to those of a key; one that is there with the same reference is replaced.
  def join(known, metas) do
    refs = MapSet.new(metas, &ref/1)
    sort(Enum.reject(known, &MapSet.member?(refs, ref(&1))) ++ metas)
  end

  @doc false
  def leave(known, metas) do
    refs = MapSet.new(metas, &ref/1)
    Enum.reject(known, &MapSet.member?(refs, ref(&1)))
  end

  @doc false
  # Joins two diffs of a topic, each `{joins, leaves}` of `[{key, meta}]`. Joins are applied before leaves, so
  # what left and joins again (a node that was down) only joins.
  def merge({joins, leaves}, {[], more}), do: {joins, leaves ++ more}
  def merge({joins, []}, {more, leaves}), do: {joins ++ more, leaves}

  def merge({joins, leaves}, {more_joins, more_leaves}) do
    again = MapSet.new(more_joins, &entry/1)
    once = fn entries -> Enum.reject(entries, &MapSet.member?(again, entry(&1))) end
    {once.(joins) ++ more_joins, once.(leaves) ++ more_leaves}
  end

  defp entry({key, meta}), do: {key, ref(meta)}

  # Metas without a reference, such as undecodable ones, are their own.
  defp ref(%{phx_ref: ref}), do: ref
  defp ref(meta), do: meta

  defp place(%{phx_ref: ref}), do: Headcount.Ref.parse(ref) || {"", 0}
  defp place(_meta), do: {"", 0}
end
