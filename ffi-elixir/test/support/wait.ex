defmodule Headcount.Test.Wait do
  @moduledoc false
  # Waits for what other processes do.

  import ExUnit.Assertions

  @pause_ms 10
  @pauses_max 2_000

  # Calls a function until it returns true; fails the test if it never does.
  def until(fun, pauses_left \\ @pauses_max) do
    cond do
      fun.() ->
        :ok

      pauses_left == 0 ->
        flunk("the condition did not come true")

      true ->
        Process.sleep(@pause_ms)
        until(fun, pauses_left - 1)
    end
  end
end
