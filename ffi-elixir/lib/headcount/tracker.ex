defmodule Headcount.Tracker do
  @moduledoc """
  Who is present, in which topic.

  This module has the functions of a tracker in the argument order of `Phoenix.Tracker`; in its pure
  form the first argument is a `Headcount.Tracker.State`.

      iex> tracker = Headcount.Tracker.new("node-1")
      iex> {:ok, ref} = Headcount.Tracker.track(tracker, self(), "room", "ann", %{device: "phone"})
      iex> Headcount.Tracker.list(tracker, "room")
      [{"ann", %{device: "phone", phx_ref: ref}}]
      iex> Headcount.Tracker.untrack(tracker, self())
      iex> Headcount.Tracker.list(tracker, "room")
      []
  """

  alias Headcount.Tracker.State

  @doc """
  A state without processes, see `Headcount.Tracker.State`.

      iex> Headcount.Tracker.new("node-1")
      #Headcount.Tracker.State<0 entries>
  """
  @spec new(String.t()) :: State.t()
  defdelegate new(name), to: State

  @doc "See `Headcount.Tracker.State.track/5`."
  @spec track(State.t(), State.owner(), State.topic(), State.key(), State.meta()) ::
          {:ok, State.ref()} | {:error, term()}
  defdelegate track(tracker, pid, topic, key, meta), to: State

  @doc "See `Headcount.Tracker.State.update/5`."
  @spec update(State.t(), State.owner(), State.topic(), State.key(), State.meta() | fun()) ::
          {:ok, State.ref()} | {:error, term()}
  defdelegate update(tracker, pid, topic, key, meta), to: State

  @doc "See `Headcount.Tracker.State.untrack/4`."
  @spec untrack(State.t(), State.owner(), State.topic(), State.key()) :: :ok
  defdelegate untrack(tracker, pid, topic, key), to: State

  @doc "See `Headcount.Tracker.State.untrack/2`."
  @spec untrack(State.t(), State.owner()) :: :ok
  defdelegate untrack(tracker, pid), to: State

  @doc "See `Headcount.Tracker.State.list/2`."
  @spec list(State.t(), State.topic()) :: [{State.key(), State.meta()}]
  defdelegate list(tracker, topic), to: State

  @doc "See `Headcount.Tracker.State.get_by_key/3`."
  @spec get_by_key(State.t(), State.topic(), State.key()) :: [{State.owner(), State.meta()}]
  defdelegate get_by_key(tracker, topic, key), to: State
end
