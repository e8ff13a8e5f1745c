defmodule Headcount.Roster.Place do
  @moduledoc false
  # Brings what a mapping of `Headcount.Roster` returns, and the options of a roster, into the form of the NIF.

  import Bitwise, only: [<<<: 2, |||: 2]

  import Headcount.MemberList.Args,
    only: [check_attrs: 1, check_name: 1, check_payload: 1, sort: 1]

  import Headcount.MemberTable.Args, only: [attrs: 1]

  @statuses [:online, :idle, :dnd, :invisible]

  @attr_max 31

  @doc false
  # `kind` is `:list` or `:table`. One pass, as it is made for each session. Returns
  # `{group | nil, [sort], bits, status, payload | nil}`.
  def new(options, kind, status) when is_list(options),
    do: place(options, kind, {nil, [], 0, status, nil})

  def new(options, kind, _status), do: not_options(options, kind)

  defp place([], _kind, {_, _, _, status, _} = place) do
    check_status(status)
    put_elem(place, 1, Enum.reverse(elem(place, 1)))
  end

  defp place([{:group, group} | rest], :list, place),
    do: place(rest, :list, put_elem(place, 0, check_name(group)))

  defp place([{by, _} = sort | rest], kind, {_, keys, _, _, _} = place) when by in [:name, :key],
    do: place(rest, kind, put_elem(place, 1, [sort(sort) | keys]))

  defp place([{:attrs, attrs} | rest], kind, place),
    do: place(rest, kind, put_elem(place, 2, bits(attrs, kind)))

  defp place([{:status, status} | rest], kind, place),
    do: place(rest, kind, put_elem(place, 3, status))

  defp place([{:payload, payload} | rest], kind, place),
    do: place(rest, kind, put_elem(place, 4, check_payload(payload)))

  defp place([other | _], kind, _place), do: not_options(other, kind)
  defp place(other, kind, _place), do: not_options(other, kind)

  @spec not_options(term(), :list | :table) :: no_return()
  defp not_options(other, kind) do
    where = if kind == :list, do: ":group, :name or :key", else: ":name or :key for each column"

    raise ArgumentError,
          "options of a place in a #{kind} are #{where}, :attrs, :status and :payload, got: " <>
            Headcount.Show.term(other)
  end

  @doc false
  # The attributes of a member are bits in a list, numbers in a table. What is beyond the limits is refused by the NIF.
  def bits(attrs, :list), do: check_attrs(attrs)

  def bits(attrs, :table) do
    with attrs when is_list(attrs) <- attrs(attrs) do
      case Enum.find(attrs, &(&1 > @attr_max)) do
        nil ->
          Enum.reduce(attrs, 0, &(1 <<< &1 ||| &2))

        attr ->
          {:refused, :attr_too_high,
           "the attributes of a roster are from 0 to #{@attr_max}, not #{attr}"}
      end
    end
  end

  @doc false
  # Those of an option.
  def bits!(attrs, kind) do
    with {:refused, _what, message} <- bits(attrs, kind), do: raise(ArgumentError, message)
  end

  @doc false
  def check_offline(offline, _kind) when offline in [nil, :stay], do: offline
  def check_offline(group, :list), do: check_name(group)

  def check_offline(other, :table) do
    raise ArgumentError,
          "over a table :offline is nil or :stay, as its lists choose the groups, got: " <>
            Headcount.Show.term(other)
  end

  @doc false
  def check_status(status) when status in @statuses, do: status

  def check_status(status) do
    raise ArgumentError,
          "the status of a session is one of #{inspect(@statuses)}, got: " <>
            Headcount.Show.term(status)
  end
end
