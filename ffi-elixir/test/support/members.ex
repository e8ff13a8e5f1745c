defmodule Headcount.Test.Members do
  @moduledoc false
  # Members of tables as they are hard to bear, and the lists of a table as they must be.

  @keys [
    {:name, ""},
    {:name, "a"},
    {:name, "Ä"},
    {:name, "ß"},
    {:name, "日本"},
    {:name, String.duplicate("x", 64)},
    {:name, String.duplicate("x", 65)},
    {:name, "shared prefix of names 1"},
    {:name, "Shared Prefix of names 2"},
    {:key, ""},
    {:key, <<0>>},
    {:key, String.duplicate(<<255>>, 64)},
    {:key, 0},
    {:key, 0xFFFFFFFFFFFFFFFF},
    {:key, {0, 7}}
  ]

  def keys, do: @keys

  def ids(:integer),
    do: [0xFFFFFFFFFFFFFFFF, 0x8000000000000000, -0x8000000000000000 | Enum.to_list(-25..25)]

  def ids(:uuid) do
    for n <- 1..50 do
      hex = Base.encode16(:crypto.hash(:md5, "#{n}"), case: :lower)
      <<a::binary-8, b::binary-4, c::binary-4, d::binary-4, e::binary>> = hex
      Enum.join([a, b, c, d, e], "-")
    end
  end

  def ids(:text) do
    ["é", "日本", "a", "aa", String.duplicate("z", 64)] ++
      for(n <- 1..45, do: "a long id that many share #{n}")
  end

  # The rows of a list of members `%{id => {keys, attrs}}`, the keys as `Headcount.MemberTable.get/2` returns them:
  # the id of a member, `{group, count}` of a header.
  def rows(members, spec) do
    spec = Keyword.merge([default_group: "members", groups: [], headers: true], spec)
    names = Enum.uniq(Enum.map(spec[:groups], &elem(&1, 1)) ++ [spec[:default_group]])
    admitted = for {id, member} <- members, admits?(spec, id, member), do: {id, member}
    by_group = Enum.group_by(admitted, fn {_, member} -> group(spec, member) end)

    for name <- names, found = sorted(by_group[name] || [], spec), found != [] do
      if spec[:headers], do: [{name, length(found)} | found], else: found
    end
    |> Enum.concat()
  end

  # The rows that a list shows, in the same form.
  def shown(list), do: for(row <- list, do: row[:id] || {row.group, row.count})

  defp sorted(found, spec) do
    order = if spec[:descending], do: :desc, else: :asc
    keys = for {id, {keys, _}} <- found, do: {Enum.at(keys, spec[:sort_by] || 0), id}
    keys |> Enum.sort(order) |> Enum.map(&elem(&1, 1))
  end

  defp admits?(spec, id, {_keys, attrs}) do
    id not in (spec[:never] || []) and
      (id in (spec[:always] || []) or spec[:admit] == nil or
         Enum.any?(spec[:admit], &holds?(&1, attrs)))
  end

  defp group(spec, {_keys, attrs}) do
    Enum.find_value(spec[:groups], spec[:default_group], fn {clause, name} ->
      if holds?(clause, attrs), do: name
    end)
  end

  defp holds?(clause, attrs) do
    any = clause[:any] || []

    (clause[:all] || []) -- attrs == [] and (any == [] or Enum.any?(any, &(&1 in attrs))) and
      not Enum.any?(clause[:none] || [], &(&1 in attrs))
  end
end
