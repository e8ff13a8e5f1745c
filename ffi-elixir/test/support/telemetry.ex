# What Headcount calls of the library `:telemetry` at run time: the real one is a Hex package and this project has none.
defmodule :telemetry do
  @moduledoc false

  # Sends the events of a tracker to the process that is registered for it.
  def execute([_ | _] = event, %{} = measurements, %{tracker: tracker} = metadata) do
    if pid = Process.whereis(:"telemetry_#{tracker}") do
      send(pid, {:telemetry, event, measurements, metadata})
    end

    :ok
  end
end
