defmodule Headcount.Error do
  @moduledoc """
  Raised by the functions whose names end in `!`: the reason that their twins return in `{:error, reason}`.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.set_group!(list, 7, "away")
      ** (Headcount.Error) there is no group "away"
  """

  defexception [:reason]

  @type t :: %__MODULE__{reason: term()}

  @impl true
  def message(%__MODULE__{reason: reason}), do: describe(reason)

  defp describe({:already_tracked, owner, topic, key}) do
    "#{Headcount.Show.term(owner)} is already tracked under the key #{Headcount.Show.term(key)} " <>
      "in the topic #{Headcount.Show.term(topic)}"
  end

  defp describe(:nopresence), do: "there is no such entry to update"

  defp describe(:not_watched),
    do:
      "this node does not watch the topic: call Headcount.Tracker.watch/2 first, or watch_counts/2 to count it only"

  defp describe(:not_ready),
    do:
      "the topic is watched, but not ready: wait for the message of Headcount.Tracker.watch/2 or watch_counts/2"

  defp describe({:decode, offset, kind}),
    do: "the frame does not decode at byte #{offset}: #{words(kind)}"

  defp describe({:gap, clock, from}),
    do: "the frame begins at the clock #{from}, this state has #{clock}"

  defp describe({_what, message}) when is_binary(message), do: message
  defp describe({what, max}) when is_integer(max), do: "#{words(what)}: at most #{max}"
  defp describe({what, len, max}), do: "#{words(what)}: #{len} bytes, at most #{max}"
  defp describe(other), do: Headcount.Show.term(other)

  defp words(name), do: name |> to_string() |> String.replace("_", " ")
end
