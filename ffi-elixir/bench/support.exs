defmodule Headcount.Bench do
  @moduledoc false

  # Times `count` calls of `fun.(i)` in batches; prints the median and the 99th percentile of the
  # batches in microseconds a call.
  def time(label, goal, count, fun) do
    batch = 50
    batches = max(div(count, batch), 1)

    times =
      for b <- 0..(batches - 1) do
        from = b * batch
        time = clock(fn -> run(from, from + batch, fun) end)
        time / batch / 1_000
      end

    row(label, percentile(times, 0.5), percentile(times, 0.99), goal)
  end

  # As `time/4` for calls that are worth a clock reading each.
  def time_each(label, goal, count, fun) do
    times =
      for i <- 1..count do
        clock(fn -> fun.(i) end) / 1_000
      end

    row(label, percentile(times, 0.5), percentile(times, 0.99), goal)
  end

  def head(title) do
    IO.puts("\n#{title}")
    IO.puts(String.pad_trailing("", 44) <> "   median us        p99 us   goal us")
  end

  def row(label, median, p99, goal) do
    line = [
      String.pad_trailing(label, 44),
      number(median),
      "  ",
      number(p99),
      "  ",
      String.pad_leading("#{goal}", 8)
    ]

    IO.puts(line)
  end

  def line(label, value), do: IO.puts(String.pad_trailing(label, 44) <> value)

  # Nanoseconds.
  defp clock(fun) do
    start = System.monotonic_time(:nanosecond)
    fun.()
    System.monotonic_time(:nanosecond) - start
  end

  defp run(to, to, _fun), do: :ok

  defp run(from, to, fun) do
    fun.(from)
    run(from + 1, to, fun)
  end

  defp percentile(times, p) do
    sorted = Enum.sort(times)
    Enum.at(sorted, min(trunc(length(sorted) * p), length(sorted) - 1))
  end

  defp number(us), do: :io_lib.format("~12.3f", [us * 1.0]) |> IO.iodata_to_binary()
end
