defmodule Headcount.Tracker.Signal do
  @moduledoc """
  A short-lived sign such as "is typing": sent to all nodes, stored nowhere, dropped first.

  `Headcount.Tracker.signal/5` sends one; `c:Headcount.Tracker.handle_signal/2` receives it.

    * `:topic` and `:key` - what it concerns, as in an entry
    * `:kind` - a number of 0 to 255 that the application gives a meaning
    * `:payload` - at most 256 bytes
    * `:ttl` - milliseconds for which it holds, from its arrival on
    * `:from` - the name of the node that sent it
  """

  @enforce_keys [:topic, :key, :kind, :payload, :ttl, :from]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          topic: String.t(),
          key: term(),
          kind: 0..255,
          payload: binary(),
          ttl: non_neg_integer(),
          from: String.t()
        }

  @doc false
  def new(from, topic, {key, kind, payload, ttl}) do
    %__MODULE__{topic: topic, key: key, kind: kind, payload: payload, ttl: ttl, from: from}
  end
end
