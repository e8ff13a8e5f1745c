defmodule Headcount.MemberTable.Args do
  @moduledoc false
  # Checks the arguments of `Headcount.MemberTable` and brings them into the form of the NIF.

  import Headcount.MemberList.Args, except: [new_member: 1, change: 1]

  @spec_defaults [
    name: "",
    default_group: "members",
    sort_by: 0,
    descending: false,
    headers: true,
    admit: nil,
    always: [],
    never: [],
    groups: []
  ]

  # More than any list of attributes has: there are 512.
  @attrs_max 10_000

  @doc false
  def attrs(attrs) do
    if is_list(attrs) and proper?(attrs, @attrs_max) and Enum.all?(attrs, &is_integer/1),
      do: in_range(attrs, Enum.find(attrs, &(&1 not in 0..0xFFFF))),
      else: bad_attrs(attrs)
  end

  # The NIF refuses those above 511.
  defp in_range(attrs, nil), do: attrs

  defp in_range(_attrs, attr),
    do:
      {:refused, :attr_too_high, "attribute bits are 0 to 511, not #{Headcount.Show.term(attr)}"}

  @spec bad_attrs(term()) :: no_return()
  defp bad_attrs(attrs) do
    raise ArgumentError,
          "attributes are a list of numbers from 0 to 511, got: #{Headcount.Show.term(attrs)}"
  end

  defp proper?([], _max), do: true
  defp proper?([_ | rest], max) when max > 0, do: proper?(rest, max - 1)
  defp proper?(_other, _max), do: false

  @doc false
  def member(options) when is_list(options), do: member(options, [], [])

  def member(options) do
    raise ArgumentError, "not the options of a member: #{Headcount.Show.term(options)}"
  end

  defp member([{:attrs, attrs} | rest], keys, _attrs), do: member(rest, keys, attrs(attrs))

  defp member([{by, _} = sort | rest], keys, attrs) when by in [:name, :key],
    do: member(rest, [sort(sort) | keys], attrs)

  defp member([], keys, attrs), do: {Enum.reverse(keys), attrs}

  defp member([other | _], _keys, _attrs) do
    raise ArgumentError,
          "options of a member are :name or :key for each column, and :attrs, got: " <>
            Headcount.Show.term(other)
  end

  defp member(other, _keys, _attrs) do
    raise ArgumentError, "not the options of a member: #{Headcount.Show.term(other)}"
  end

  @doc false
  # For `bulk_load/2`.
  def new_member({id, options}) do
    {payload, options} =
      if is_list(options), do: Keyword.pop(options, :payload), else: {nil, options}

    {keys, attrs} = member(options)
    {id, keys, attrs, check_payload(payload)}
  end

  def new_member(other),
    do: raise(ArgumentError, "not a member {id, options}: #{Headcount.Show.term(other)}")

  @doc false
  # For `apply_batch/3`.
  def change({:upsert, id, options}) do
    {keys, attrs} = member(options)
    {:upsert, id, keys, attrs}
  end

  def change({:set_key, id, column, sort}),
    do: {:set_key, id, check_column(:column, column), sort(sort)}

  def change({:set_attrs, id, changes}) do
    {clear, set} = changes(changes)
    {:set_attrs, id, clear, set}
  end

  def change({:set_payload, _id, payload} = change) when is_binary(payload), do: change
  def change({what, _id} = change) when what in [:remove, :touch], do: change

  def change(other) do
    raise ArgumentError, "not a change: #{Headcount.Show.term(other)}"
  end

  @doc false
  def changes(changes) do
    changes = Keyword.validate!(changes, clear: [], set: [])
    {attrs(changes[:clear]), attrs(changes[:set])}
  end

  @doc false
  def spec(spec) do
    spec = Keyword.validate!(spec, @spec_defaults)
    flag = fn name -> check_flag(name, spec[name]) end

    head =
      {check_name(spec[:name]), check_name(spec[:default_group]),
       check_column(:sort_by, spec[:sort_by]), flag.(:descending), flag.(:headers)}

    admit = spec[:admit] && each(:admit, spec[:admit], &clause/1)
    ids = fn name -> each(name, spec[name], & &1) end
    {head, admit, ids.(:always), ids.(:never), each(:groups, spec[:groups], &group/1)}
  end

  defp group({clause, name}), do: {clause(clause), check_name(name)}

  defp group(other) do
    raise ArgumentError, "not a clause and a group: #{Headcount.Show.term(other)}"
  end

  defp clause(clause) do
    clause = Keyword.validate!(clause, all: [], any: [], none: [])
    {attrs(clause[:all]), attrs(clause[:any]), attrs(clause[:none])}
  end

  defp each(_name, items, fun) when is_list(items) and length(items) >= 0,
    do: Enum.map(items, fun)

  defp each(name, items, _fun),
    do: raise(ArgumentError, "#{name} must be a list, got: #{Headcount.Show.term(items)}")

  # Above every column.
  @column_max 0xFFFF_FFFF

  @doc false
  def check_column(_name, column) when is_integer(column) and column > @column_max,
    do: {:refused, :unknown_key_column, "there is no key column #{Headcount.Show.term(column)}"}

  def check_column(name, column), do: check_index(name, column)
end
